"""Tests of the offline task, its split and order, and the prompts."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from tandem.config.data import DataConfig
from tandem.config.schema import ConfigError
from tandem.data.arith import VALUES, Chain, draw, jargon, plain
from tandem.data.problems import load_problems
from tandem.data.prompts import encode
from tandem.data.split import held_out
from tandem.models.zoo.tokenizer import train_tokenizer
from tests.support.builders import foreign_tokenizer
from tests.support.problem_files import SUMS, jsonl, write_jsonl

ARITH = DataConfig(source="arith")
seeds = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer([draw(Random(i)).problem().question for i in range(50)], 320)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A valid file of 40 problems with numeric answers."""
    return write_jsonl(tmp_path / "problems.jsonl", SUMS)


# The offline task


def test_problem_and_its_two_solutions() -> None:
    chain = Chain(46, (-3, 5))
    assert chain.problem().id == "arith/46-3+5"
    assert re.fullmatch(r"\w+ has 46 \w+, (sells|loses|uses) 3, (buys|finds|wins) 5\. How many\?", chain.problem().question)
    assert chain.problem().answer == "48"
    assert plain(chain, 0, Random(0)) == "Start with 46.\nTake 3: 46 - 3 = 43.\nAdd 5: 43 + 5 = 48.\nThe answer is \\boxed{48}."
    assert jargon(chain, 0, Random(0)) == "#64\n!3>34\n^5>84\n@\\boxed{48}"


@given(seeds)
def test_solution_values_are_in_range_and_consistent(seed: int) -> None:
    chain = draw(Random(seed))
    assert all(value in VALUES for value in chain.values)
    assert eval(chain.id) == chain.values[-1] == int(chain.problem().answer)


@given(seeds)
def test_slip_is_off_by_one_or_ten_and_propagates(seed: int) -> None:
    random = Random(seed)
    text = plain(draw(random), 1.0, random)
    value = int(text.split(".")[0].removeprefix("Start with "))
    for before, sign, amount, after in re.findall(r": (\d+) ([+-]) (\d+) = (\d+)\.", text):
        assert int(before) == value
        value = int(after)
        assert value in VALUES
        assert abs(value - (int(before) + int(sign + amount))) in (1, 10)
    assert text.endswith(f"\\boxed{{{value}}}.")


def test_slips_have_configured_frequency() -> None:
    random, slips, steps = Random(0), 0, 0
    for _ in range(1000):
        for before, sign, amount, after in re.findall(r": (\d+) ([+-]) (\d+) = (\d+)", plain(draw(random), 0.15, random)):
            slips += int(after) != int(before) + int(sign + amount)
            steps += 1
    assert slips / steps == pytest.approx(0.15, abs=0.03)


# The split and the order


@given(seeds, st.integers(0, 10_000))
def test_training_excludes_held_out_problems(seed: int, step: int) -> None:
    batch = load_problems(ARITH, seed).train.batch(step, 16)
    assert len({problem.id for problem in batch}) == 16
    assert not any(held_out(problem, ARITH.held_out_fraction) for problem in batch)


def test_held_out_problems_do_not_depend_on_seed() -> None:
    evaluation = load_problems(ARITH, 1).held_out(400)
    assert evaluation == load_problems(ARITH, 2).held_out(400)
    assert evaluation[:100] == load_problems(ARITH, 3).held_out(100)
    assert len({problem.id for problem in evaluation}) == 400
    assert all(held_out(problem, 0.1) for problem in evaluation)


def test_batch_is_function_of_seed_and_step() -> None:
    first, again, other = (load_problems(ARITH, seed).train for seed in (1, 1, 2))
    assert first.batch(7, 4) == again.batch(7, 4)
    assert first.batch(7, 4) != first.batch(8, 4)
    assert first.batch(7, 4) != other.batch(7, 4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DataConfig(source="csv"), "data.source=csv: choose arith, reasoning_gym, sentences, jsonl, parquet or hub"),
        (DataConfig(source="arith", held_out_fraction=1.5), "data.held_out_fraction=1.5"),
        (DataConfig(source="arith", held_out_fraction=0.9), "data.held_out_fraction=0.9"),
    ],
)
def test_unusable_data_is_refused(data: DataConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_problems(data, 1)


# Prompts


def test_junior_with_another_tokenizer_gets_prompt_in_its_template(tokenizer: PreTrainedTokenizerBase) -> None:
    foreign, problem = foreign_tokenizer(), Chain(46, (-3, 5)).problem()
    [prompt], _ = encode([problem], tokenizer, ARITH, {2: foreign})
    [alone], _ = encode([problem], tokenizer, ARITH)
    assert foreign.decode(prompt.junior_token_ids[2]) == f"<sys>{problem.question} Think.\n"
    assert (prompt.token_ids, alone.junior_token_ids) == (alone.token_ids, {})


def test_prompt_too_long_for_junior_is_dropped(tokenizer: PreTrainedTokenizerBase) -> None:
    problems = load_problems(ARITH, 1).train.batch(0, 16)
    lengths = [len(foreign_tokenizer().encode(f"<sys>{problem.question} Think.\n")) for problem in problems]
    limit = sorted(lengths)[8]
    assert limit > max(len(prompt.token_ids) for prompt in encode(problems, tokenizer, ARITH)[0])
    kept, dropped = encode(problems, tokenizer, replace(ARITH, max_prompt_tokens=limit), {0: foreign_tokenizer()})
    assert [len(prompt.junior_token_ids[0]) for prompt in kept] == [length for length in lengths if length <= limit]
    assert len(kept) + dropped == 16


def test_prompt_is_template_inside_chat_template(tokenizer: PreTrainedTokenizerBase) -> None:
    problem = Chain(46, (-3, 5)).problem()
    data = DataConfig(source="arith", template=r"{question} Use \boxed{}.")
    [prompt], dropped = encode([problem], tokenizer, data)
    assert tokenizer.decode(prompt.token_ids) == f"<|user|>{problem.question} Use \\boxed{{}}.<|assistant|>"
    assert prompt.problem == problem
    assert dropped == 0
    [plain_prompt], _ = encode([problem], tokenizer, DataConfig(source="arith", chat=False))
    assert tokenizer.decode(plain_prompt.token_ids) == problem.question


def test_long_prompts_are_dropped_and_counted(tokenizer: PreTrainedTokenizerBase) -> None:
    problems = load_problems(ARITH, 1).train.batch(0, 32)
    lengths = [len(prompt.token_ids) for prompt in encode(problems, tokenizer, ARITH)[0]]
    limit = sorted(lengths)[16]
    kept, dropped = encode(problems, tokenizer, DataConfig(source="arith", max_prompt_tokens=limit))
    assert [len(prompt.token_ids) for prompt in kept] == [length for length in lengths if length <= limit]
    assert dropped == sum(length > limit for length in lengths) > 0
    with pytest.raises(ConfigError, match=r"data\.max_prompt_tokens=3: all 32 prompts are longer; the shortest has \d+"):
        encode(problems, tokenizer, DataConfig(source="arith", max_prompt_tokens=3))


def test_batches_are_full_despite_long_prompts(tokenizer: PreTrainedTokenizerBase, lines: Path) -> None:
    lengths = [len(p.token_ids) for p in encode(load_problems(ARITH, 1).train.batch(0, 32), tokenizer, ARITH)[0]]
    short = DataConfig(source="arith", max_prompt_tokens=sorted(lengths)[16])
    problems = load_problems(short, 1, tokenizer)
    for batch in (problems.train.batch(0, 64), problems.held_out(64)):
        prompts, dropped = encode(batch, tokenizer, short)
        assert (len(prompts), dropped) == (64, 0)

    with lines.open("a") as file:
        file.write(json.dumps({"question": "how many? " * 100, "answer": 1}) + "\n")
    problems = load_problems(jsonl(lines), 1, tokenizer)
    assert problems.dropped == 1


def test_batches_are_full_despite_prompts_too_long_for_junior(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    juniors, sample = {1: foreign_tokenizer()}, load_problems(ARITH, 1).train.batch(0, 32)
    lengths = [len(prompt.junior_token_ids[1]) for prompt in encode(sample, tokenizer, ARITH, juniors)[0]]
    short = replace(ARITH, max_prompt_tokens=sorted(lengths)[16])
    problems = load_problems(short, 1, tokenizer, juniors)
    for batch in (problems.train.batch(0, 64), problems.held_out(64)):
        prompts, dropped = encode(batch, tokenizer, short, juniors)
        assert (len(prompts), dropped) == (64, 0)

    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps({"question": p.question, "answer": p.answer}) + "\n" for p in sample))
    data = jsonl(path, max_prompt_tokens=short.max_prompt_tokens, held_out_fraction=0.5)
    assert load_problems(data, 1, tokenizer).dropped == 0
    assert load_problems(data, 1, tokenizer, juniors).dropped == sum(length > data.max_prompt_tokens for length in lengths) > 0


def test_system_message_comes_first(tokenizer: PreTrainedTokenizerBase) -> None:
    template = "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}"
    reader = deepcopy(tokenizer)
    reader.chat_template = template
    [read], _ = encode([Chain(46, (-3, 5)).problem()], reader, replace(ARITH, system="Be brief."))
    assert reader.decode(read.token_ids).startswith("[system] Be brief.\n[user] ")


@pytest.mark.parametrize("source", ["arith", "jsonl"])
def test_limit_below_every_prompt_is_refused(source: str, tokenizer: PreTrainedTokenizerBase, lines: Path) -> None:
    data = DataConfig(source=source, path=str(lines), max_prompt_tokens=3)
    with pytest.raises(ConfigError, match=r"data\.max_prompt_tokens"):
        load_problems(data, 1, tokenizer).train.batch(0, 4)
