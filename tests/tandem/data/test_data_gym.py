"""Tests of the tasks of reasoning_gym: the mix, the split, and their scorers in the judge's workers."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
from reasoning_gym.factory import create_dataset

from tandem.config.checks.data import data_errors
from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError
from tandem.data.problems import load_problems
from tandem.data.split import held_out
from tandem.verify.gym import gold, score
from tandem.verify.judgement import Verdict
from tandem.verify.pool import VerifierPool

SCORE = "tandem.verify.gym:score"
TASKS = ["chain_sum", "leg_counting", "countdown", "mini_sudoku", "knights_knaves", "rearc", "word_sorting"]
"""Tasks with numbers, expressions, grids, and scorers that distinguish tuples from lists."""


@pytest.fixture(scope="module")
def pool() -> Iterator[VerifierPool]:
    with VerifierPool(1, timeout_s=30, memory_gib=2, verifier=SCORE) as pool:
        yield pool


def gym(*tasks: str, **fields: object) -> DataConfig:
    return DataConfig(source="reasoning_gym", tasks=list(tasks), **fields)  # type: ignore[arg-type]


def task_of(id_: str) -> str:
    return id_.split("/")[1]


# The problems


def test_tasks_are_drawn_in_proportion_to_weights() -> None:
    batch = load_problems(gym("chain_sum", "leg_counting", task_weights=[3, 1]), 1).train.batch(0, 400)
    drawn = Counter(task_of(problem.id) for problem in batch)
    assert drawn["chain_sum"] / 400 == pytest.approx(0.75, abs=0.1)
    assert drawn["leg_counting"] == 400 - drawn["chain_sum"]


def test_batch_is_function_of_seed_and_step() -> None:
    first, again, other = (load_problems(gym("chain_sum", "gcd"), seed).train for seed in (1, 1, 2))
    first.batch(3, 8)
    assert first.batch(7, 8) == again.batch(7, 8)
    assert first.batch(7, 8) != first.batch(8, 8)
    assert first.batch(7, 8) != other.batch(7, 8)


def test_training_excludes_held_out_questions() -> None:
    data = gym(
        "chain_sum", task_options={"chain_sum": {"min_terms": 2, "max_terms": 2, "max_digits": 1}}, held_out_fraction=0.3
    )
    evaluation = load_problems(data, 1).held_out(20)
    assert evaluation == load_problems(data, 2).held_out(20)
    asked = {problem.question for problem in evaluation}
    for step in range(20):
        batch = load_problems(data, 1).train.batch(step, 16)
        assert len({problem.id for problem in batch}) == 16
        assert not any(held_out(problem, 0.3) or problem.question in asked for problem in batch)


def test_task_has_its_own_options() -> None:
    data = gym("chain_sum", task_options={"chain_sum": {"min_terms": 5, "max_terms": 5}})
    assert all(len(re.findall(r" [+-] ", problem.question)) == 4 for problem in load_problems(data, 1).train.batch(0, 8))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gym("chain_sums"), "data.tasks: reasoning_gym has no task 'chain_sums'; did you mean chain_sum"),
        (gym("gcd", task_options={"lcm": {}}), "data.task_options.lcm: lcm is not among data.tasks=['gcd']"),
        (gym("gcd", task_options={"gcd": {"seed": 3}}), "data.task_options.gcd.seed: every problem has its own"),
        (gym("gcd", task_options={"gcd": {"speed": 3}}), "data.task_options.gcd={'speed': 3}: "),
        (gym("gcd", task_options={"gcd": {"min_numbers": 0}}), "data.task_options.gcd={'min_numbers': 0}: "),
    ],
)
def test_invalid_mix_is_refused(data: DataConfig, message: str) -> None:
    with pytest.raises(ConfigError, match="^" + re.escape(message)):
        load_problems(data, 1)


def test_missing_package_is_refused_with_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    [complaint] = data_errors(gym("chain_sum"))
    assert complaint == "data.source=reasoning_gym: the package is not installed; run `pip install reasoning-gym`"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gym(), "data.tasks=[]: name at least one task"),
        (gym("gcd", "gcd"), "data.tasks=['gcd', 'gcd']: name each task once"),
        (gym("gcd", task_weights=[1, 2]), "data.task_weights=[1, 2]: give one for each of the 1 tasks, or none"),
        (gym("gcd", held_out_problems=5), "data.held_out_problems=5: data.source=reasoning_gym has no end"),
        (gym("gcd", evaluation_only=True), "data.evaluation_only=True: "),
        (gym("gcd", held_out_path="x"), "data.held_out_path=x: data.source=reasoning_gym has no files"),
        (gym("gcd", system="Hi", chat=False), "data.system='Hi': it needs a chat template"),
    ],
)
def test_inconsistent_settings_are_refused(data: DataConfig, message: str) -> None:
    [complaint] = data_errors(data)
    assert complaint.startswith(message)


# The scores


@pytest.mark.parametrize("task", TASKS)
def test_worker_gives_gold_answer_full_score(task: str, pool: VerifierPool) -> None:
    for seed in range(3):
        entry = create_dataset(task, seed=seed, size=1)[0]
        answer = entry["answer"] or next(iter(entry["metadata"].get("example_answer", "")), "")
        responses = [f"So the answer is <answer>{answer}</answer>.", rf"So it is \boxed{{{answer}}}.", "I do not know."]
        judgements = pool.grade([(gold(task, {}, entry), response) for response in responses])
        assert [judgement.verdict for judgement in judgements] == [Verdict.CORRECT, Verdict.CORRECT, Verdict.UNPARSABLE]
        assert [judgement.score for judgement in judgements] == [1, 1, 0]
        assert judgements[0].extracted == str(answer).strip()


def test_box_between_tags_is_read() -> None:
    entry = create_dataset("gcd", seed=1, size=1)[0]
    for response in (r"<answer>\boxed{%s}</answer>", r"\boxed{x} <answer>%s</answer>", "The answer is %s."):
        assert score(gold("gcd", {}, entry), response % entry["answer"]).extracted == entry["answer"]


def test_score_can_be_partial() -> None:
    problem = load_problems(gym("chain_sum"), 1).train.batch(0, 1)[0]
    entry_answer = eval(re.search(r"[\d(][\d +*/()-]+", problem.question)[0])  # type: ignore[index]
    judgement = score(problem.answer, rf"\boxed{{{entry_answer} apples}}")
    assert judgement.verdict is Verdict.WRONG
    assert 0 < judgement.score < 1


def test_unreadable_answer_is_wrong_not_error() -> None:
    entry = create_dataset("prime_factorization", seed=1, size=1)[0]
    judgement = score(gold("prime_factorization", {}, entry), r"\boxed{seventeen × two}")
    assert judgement.score == 0
    assert judgement.verdict in (Verdict.WRONG, Verdict.UNPARSABLE)


def test_gold_answer_contains_task_options() -> None:
    options = {"min_terms": 3, "max_terms": 3}
    problem = load_problems(gym("chain_sum", task_options={"chain_sum": options}), 1).train.batch(0, 1)[0]
    assert '"max_terms": 3' in problem.answer


def test_same_random_numbers_draw_same_problem() -> None:
    from tandem.data.gym import Mix

    mix = Mix(gym(*TASKS))
    assert [mix.draw(Random(seed)) for seed in range(12)] == [mix.draw(Random(seed)) for seed in range(12)]
