"""Tests of what launch/difficulty.py writes of problems that the verifier does not judge."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from launch.entry import configuration
from launch.evaluation import difficulty
from launch.evaluation.difficulty import measure_pass_rates
from tandem.data.pass_rates import read_pass_rates
from tandem.guards import GuardError, VerdictGuard
from tandem.rollout import Group, Prompt, Verdict
from tandem.verify.judgement import plain_judgement
from tests.support.builders import judged_group, save_model, scheduled_rollout, small_tokenizer

pytestmark = pytest.mark.seconds

ATTEMPTS = 2
NO_BOUNDARIES = np.zeros(8, np.uint8)
RIGHT, WRONG, SLOW, BROKEN = Verdict.CORRECT, Verdict.WRONG, Verdict.TIMEOUT, Verdict.ERROR


class Attempts:
    """Stands in for engines and judge: `verdicts` maps the number of a problem to the verdicts on its attempts."""

    def __init__(self, verdicts: Callable[[int], Sequence[Verdict]]) -> None:
        self.verdicts, self.tried, self._guard = verdicts, 0, VerdictGuard()

    @contextmanager
    def start(self, *_: Any) -> Iterator[tuple[Any, Any]]:
        yield SimpleNamespace(generate=self.generate), SimpleNamespace(judge_groups=self.judge_groups)

    def generate(self, prompts: Sequence[Prompt], count: int, schedule: Any, *_: Any, **__: Any) -> list[Group]:
        self.tried += len(prompts)
        rollouts = [scheduled_rollout(schedule, NO_BOUNDARIES, seed, [0, 3, 0]) for seed in range(count)]
        groups = [judged_group(rollouts, schedule=schedule) for _ in prompts]
        for group, prompt in zip(groups, prompts, strict=True):
            group.prompt, group.judgements = prompt, []
        return groups

    def judge_groups(self, groups: Sequence[Group], timeout_s: float) -> None:
        for group in groups:
            number = int(group.prompt.problem.answer) - 1
            group.judgements = [plain_judgement(verdict) for verdict in self.verdicts(number)]
        self._guard.check(groups)


Measure = Callable[[Callable[[int], Sequence[Verdict]]], int]


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    return tmp_path / "rates.jsonl"


@pytest.fixture
def measure(tmp_path: Path, rates: Path, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Return a function that measures the pass rates of some problems, and returns how many it tried."""
    model = save_model(tmp_path / "model", small_tokenizer())
    problems = [json.dumps({"question": f"What is {i} + 1?", "answer": i + 1}) for i in range(40)]
    (file := tmp_path / "problems.jsonl").write_text("\n".join(problems))
    given = ["model=hf", f"model.path={model}", "data=jsonl", f"data.path={file}", f"data.pass_rates={rates}"]
    config = configuration([*given, f"data.difficulty_rollouts={ATTEMPTS}"])
    monkeypatch.setattr(difficulty, "CHUNK", 8)

    def measure(verdicts: Callable[[int], Sequence[Verdict]]) -> int:
        attempts = Attempts(verdicts)
        monkeypatch.setattr(difficulty, "start_workers", attempts.start)
        measure_pass_rates(config)
        return attempts.tried

    return measure


def test_problem_without_any_judged_answer_is_tried_again(
    measure: Measure, rates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def verdicts(number: int) -> Sequence[Verdict]:
        return [(RIGHT, RIGHT), (SLOW, BROKEN), (RIGHT, SLOW), (WRONG, WRONG)][number % 4]

    total = measure(verdicts)
    known = read_pass_rates(rates)
    assert sorted(set(known.values())) == [0.0, 0.5, 1.0]
    missing = total - len(known)
    assert 0 < missing < total / 2
    said = " ".join(capsys.readouterr().out.split())
    assert f"lacks {missing} problems none of whose answers could be judged; start again to try them" in said
    assert measure(lambda number: (RIGHT, WRONG)) == missing
    assert len(read_pass_rates(rates)) == total
    assert "could be judged" not in capsys.readouterr().out
    assert measure(lambda number: (RIGHT, WRONG)) == 0


@pytest.mark.parametrize("broken", [(SLOW, SLOW), (BROKEN, BROKEN), (BROKEN, SLOW)])
def test_broken_verifier_stops_before_it_is_recorded(measure: Measure, rates: Path, broken: Sequence[Verdict]) -> None:
    with pytest.raises(GuardError, match="could be judged .*: the verifier is broken or too slow; correct data.verifier, or"):
        measure(lambda number: broken)
    assert not read_pass_rates(rates)


def test_problems_that_base_never_solves_are_recorded_with_warning(
    measure: Measure, rates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    total = measure(lambda number: (WRONG, SLOW))
    assert list(read_pass_rates(rates).values()) == [0.0] * total
    assert "problems 1 to 8 of" in capsys.readouterr().out
