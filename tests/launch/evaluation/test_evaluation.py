"""launch/evaluate.py as a user runs it, and the sampling of its texts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig
from transformers import AutoModelForCausalLM

from launch.command_line import CONF
from launch.evaluation.folder import EvaluationFolder
from launch.evaluation.measured_run import senior_of, settings_of_run
from launch.evaluation.training_measures import check_measures
from tandem.authors import Authors, load_authors, with_senior
from tandem.config.load import load, schema
from tandem.config.rollout import SamplingConfig, ScheduleConfig
from tandem.config.schema import Config, ConfigError
from tandem.measures.comparison import comparison_scores
from tandem.measures.legibility import Pace, as_written, in_tokens_of, legibility_scores
from tandem.measures.scoring import ScoringModel
from tandem.replay import replay
from tandem.rollout import JUNIOR, SENIOR, Group, Prompt
from tandem.schedule import BEGINS_WORD, ENDS_STEP, JUNIOR_ALONE, SOLO, WHOLE_TEXT, Schedule, noise_seed
from tests.support import ROOT
from tests.support.builders import save_model, small_tokenizer
from tests.support.engine_pair import EnginePair
from tests.support.preloaded.python import python
from tests.support.writing import forward_logprobs, texts, write

WORD = Schedule(0.5, 32)
PACE = Pace(batch_tokens=200, chunk_tokens=16)

# The texts


@pytest.mark.parametrize("schedule", [SOLO, JUNIOR_ALONE, WORD], ids=["solo", "junior", "word"])
def test_repeatable_text_does_not_depend_on_batch(engines: EnginePair, prompts: list[Prompt], schedule: Schedule) -> None:
    few = write(engines, prompts[:3], schedule, "few", repeatable=True)
    many = write(engines, prompts, schedule, "many", repeatable=True, group_size=3)
    assert texts(few) == texts(many[:9:3])
    assert texts(many[:9:3]) != texts(many[1:9:3]), "rollouts of one prompt do not share their noise"


def test_authors_do_not_share_repeatable_noise(engines: EnginePair, prompts: list[Prompt]) -> None:
    senior, junior = (
        write(engines, prompts, schedule, name, repeatable=True, temperature=2.0)
        for schedule, name in ((SOLO, "ours"), (JUNIOR_ALONE, "theirs"))
    )
    assert texts(senior) != texts(junior)
    assert len({noise_seed(seed, author) for seed in range(100) for author in (SENIOR, JUNIOR)}) == 200


@pytest.mark.parametrize("distribution", [{"top_k": 1}, {"top_p": 0.001}], ids=str)
def test_sampling_of_likeliest_token_is_greedy(
    engines: EnginePair, prompts: list[Prompt], distribution: dict[str, Any]
) -> None:
    greedy = write(engines, prompts, SOLO, f"greedy/{distribution}", temperature=0.0)
    assert texts(write(engines, prompts, SOLO, f"top/{distribution}", **distribution)) == texts(greedy)


def test_seeded_engine_survives_long_prompts(engines: EnginePair, prompts: list[Prompt], authors: Authors) -> None:
    """vLLM on CPU fails on a prompt that it prefills in chunks."""
    room = authors.context - 10
    long = [replace(prompt, token_ids=(prompt.token_ids * room)[:room]) for prompt in prompts]
    assert len(write(engines, long, WORD, "long", repeatable=True, max_tokens=5)) == len(prompts)


def test_boundaries_cover_schedules_of_evaluation(config: Config, authors: Authors) -> None:
    assert np.unique(authors.boundaries).tolist() == [0, BEGINS_WORD, BEGINS_WORD | ENDS_STEP]
    words_only = load_authors(replace(config, eval=replace(config.eval, measures=["solo"])))
    assert np.unique(words_only.boundaries).tolist() == [0, BEGINS_WORD]
    lines = authors.tokenizer.encode("a b\nc d\ne")
    steps = Schedule(0.5, WHOLE_TEXT, alternates=True, boundary=ENDS_STEP)
    assert replay(steps, authors.boundaries, 1, lines).authorship[[0, -1]].tolist() == [SENIOR, SENIOR]
    assert set(replay(steps, words_only.boundaries, 1, lines).authorship) == {SENIOR}
    without = replace(config, model=replace(config.model, step_boundary="paragraph"))
    with pytest.raises(ConfigError, match=r"^eval.handoff\[0\].name=step: no token of .* is a 'paragraph' boundary"):
        load_authors(without)


# What models say of them


def test_measures_of_distributions_equal_plain_transformers(
    engines: EnginePair, prompts: list[Prompt], authors: Authors, small_junior: Path
) -> None:
    written = write(engines, prompts, SOLO, "read", repeatable=True, group_size=2)
    groups = [Group(prompt, written[2 * i : 2 * i + 2], SOLO) for i, prompt in enumerate(prompts)]
    paths = [authors.senior, small_junior]
    senior, junior = (ScoringModel(path, "float32", "cpu") for path in paths)
    sampling = SamplingConfig(1.0, 96)
    scores = comparison_scores(senior, junior, groups, sampling, PACE)
    scores |= legibility_scores(junior, groups, groups[:4], as_written, PACE)
    models = [AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for path in paths]
    nats = np.concatenate([-forward_logprobs(models[1], rollout) for rollout in written])
    assert scores["legibility/senior_text_pooled"].value == pytest.approx(nats.mean(), abs=1e-4)
    floor = np.concatenate([-forward_logprobs(models[1], rollout) for rollout in written[:8]])
    assert scores["legibility/junior_text_pooled"].value == pytest.approx(floor.mean(), abs=1e-4)
    p, q = (torch.cat([whole_distributions(model, rollout) for rollout in written]) for model in models)
    ours, theirs = (torch.distributions.Categorical(logits=logits) for logits in (p, q))
    for name, one, other in (("drift/kl_senior_junior", ours, theirs), ("drift/kl_junior_senior", theirs, ours)):
        assert scores[name].value == pytest.approx(torch.distributions.kl_divergence(one, other).mean().item(), abs=1e-4)
    shared = torch.minimum(ours.probs, theirs.probs).sum(-1).mean().item()
    assert scores["acceptance/rate"].value == pytest.approx(shared, abs=1e-4)
    assert scores["drift/kl_senior_junior"].weights.tolist() == [sum(map(len, group.rollouts)) for group in groups]


def whole_distributions(model: torch.nn.Module, rollout: Any) -> torch.Tensor:
    """Return the logits [T, V] of every token of `rollout`, by plain transformers."""
    with torch.no_grad():
        logits = model(torch.tensor([*rollout.prompt_ids, *rollout.token_ids])[None]).logits[0]
    return logits[len(rollout.prompt_ids) - 1 : -1]


def test_junior_with_another_tokenizer_reads_its_own_tokens(
    engines: EnginePair, prompts: list[Prompt], foreign_authors: Authors
) -> None:
    tokenizer = foreign_authors.junior_tokenizers[1]
    (rollout,) = write(engines, prompts[:1], SOLO, "foreign", temperature=0.0)
    prompt = replace(prompts[0], junior_token_ids={1: (7, 8)})
    text = in_tokens_of(tokenizer, 1)(prompt, rollout)
    assert text.prompt_ids == (7, 8)
    assert tokenizer.decode(text.token_ids, skip_special_tokens=True) == rollout.text
    assert text.token_ids[-1] == tokenizer.eos_token_id


# What is measured


@pytest.fixture(scope="module")
def run_folder(authors: Authors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with another schedule and other data settings, whose senior is the base model."""
    run = tmp_path_factory.mktemp("runs") / "trained"
    shutil.copytree(authors.senior, run / "senior")
    (run / "metrics.jsonl").write_text("")
    settings = {
        "name": "trained",
        "model": {"source": "zoo", "recipe": "plain", "word_boundary": "word_or_newline", "step_boundary": "newline"},
        "data": {"source": "arith", "held_out_fraction": 0.2},
        "schedule": {"name": "chunk", "chunk_tokens": 4},
        "eval": {"problems": 9, "sampling": {"temperature": 0.5}},
        "cache_dir": str(authors.senior.parent.parent),
        "mode": {"name": "cluster", "cpu_cores": 1},
    }
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    return run


@pytest.fixture
def composed() -> Iterator[Any]:
    """Compose settings from overrides, as launch/evaluate.py does."""
    ConfigStore.instance().store(name="schema", node=schema())
    with initialize_config_dir(version_base=None, config_dir=str(CONF)):

        def settings(*overrides: str) -> DictConfig:
            return settings_of_run(compose("config", overrides=list(overrides)), overrides)

        yield settings


def test_command_line_overrides_settings_of_run(composed: Any, run_folder: Path) -> None:
    config = load(composed(f"senior={run_folder}", "eval=full", "eval.problems=5", "seed=7", "name=again"))
    assert (config.data.held_out_fraction, config.schedule.name, config.eval.sampling.temperature) == (0.2, "chunk", 0.5)
    assert (config.eval.problems, config.eval.samples, config.seed, config.name) == (5, 8, 7, "again")
    assert [schedule.label for schedule in config.eval.handoff] == ["step_alternating", "word"]
    assert config.schedule.chunk_tokens == 4
    earlier = load(composed(f"senior={run_folder}", "eval.samples=2", "++eval.pass_at=[1]", "eval=full"))
    assert (earlier.eval.samples, earlier.eval.pass_at) == (2, [1]), "as in Hydra, values win over groups"
    assert (config.mode.name, config.mode.cpu_cores) == ("auto", 1), "where a run ran does not bind its evaluation"
    other = load(composed(f"senior={run_folder}", "schedule=word"))  # under which the run's chunks have no effect
    assert (other.schedule.name, other.schedule.chunk_tokens) == ("word", 8)
    # A senior that lies in the run folder is one of the run's.
    inside = load(composed(f"senior={run_folder / 'senior'}"))
    assert inside.data.held_out_fraction == 0.2 and inside.name == ""
    assert load(composed("eval.problems=5")).data.held_out_fraction == 0.1
    with pytest.raises(ConfigError, match="model=smollm2: senior=.* is a run, which brings its own model; leave it out"):
        composed(f"senior={run_folder}", "model=smollm2")


def test_run_folder_stands_for_final_senior(run_folder: Path, tmp_path: Path) -> None:
    final = str(run_folder / "senior")
    assert senior_of(str(run_folder)) == senior_of(final) == final
    assert senior_of("ORG/NAME") == "ORG/NAME"
    (tmp_path / "config.yaml").write_text("")
    assert senior_of(str(tmp_path)) == str(tmp_path), "a folder with a configuration need not be a run"
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ConfigError, match=f"senior={tmp_path}: this run has exported no senior"):
        senior_of(str(tmp_path))


def test_senior_of_another_shape_is_refused(authors: Authors, tmp_path: Path) -> None:
    foreign = save_model(tmp_path / "foreign", small_tokenizer())
    with pytest.raises(ConfigError, match=r"senior=x: the junior's tokenizer differs .*; set model to"):
        with_senior(authors, foreign, "senior=x")
    short = save_model(tmp_path / "short", authors.tokenizer, vocab_size=authors.vocabulary, max_position_embeddings=100)
    with pytest.raises(ConfigError, match=r"senior=x: it reads 100 tokens, and 161 are needed"):
        with_senior(authors, short, "senior=x")
    wide = save_model(tmp_path / "wide", authors.tokenizer, vocab_size=authors.vocabulary + 8)
    with pytest.raises(ConfigError, match=r"senior=x: it has \d+ outputs"):
        with_senior(authors, wide, "senior=x")


def test_training_refuses_measures_it_cannot_take() -> None:
    config = Config()
    check_measures(config)
    compared = replace(config, eval=replace(config.eval, measures=["solo", "drift"]))
    check_measures(compared)
    for refused, message in [
        (replace(compared, junior=["self", "x"]), r"this run does not measure drift, for there is one junior .* of junior="),
        (replace(compared, mode=replace(config.mode, name="cluster")), "does not measure drift, for both models would be read"),
        (replace(config, eval=replace(config.eval, measures=["handoff"])), "name solo too"),
    ]:
        with pytest.raises(ConfigError, match=message):
            check_measures(refused)
    with pytest.raises(ConfigError, match="senior=x: training starts from model"):
        check_measures(replace(config, senior="x"))
    with pytest.raises(ConfigError, match="speculative=4: only launch/serve.py takes this; leave it out"):
        check_measures(replace(config, speculative=4))


def test_evaluation_is_not_overwritten(run_folder: Path, tmp_path: Path) -> None:
    config = Config(name="mine", senior=str(run_folder))
    folder = EvaluationFolder(config)
    assert folder.path == run_folder / "evaluation" / "mine"
    elsewhere = EvaluationFolder(replace(config, senior="", log=replace(config.log, dir=str(tmp_path))))
    assert elsewhere.path == tmp_path / "mine"
    elsewhere.path.mkdir()
    elsewhere.result.write_text("{}")
    with pytest.raises(ConfigError, match="name=mine: an evaluation .* exists"):
        EvaluationFolder(replace(config, senior="", log=replace(config.log, dir=str(tmp_path))))


def test_schedules_have_distinct_labels() -> None:
    given = [
        ScheduleConfig(name="word"),
        ScheduleConfig(name="word", prob_senior=0.7),
        ScheduleConfig(name="chunk", chunk_tokens=4, alternates=True),
    ]
    assert [schedule.label for schedule in given] == ["word", "word_prob_senior=0.7", "chunk_alternating_chunk_tokens=4"]


# The whole


def evaluate(interpreter: str, *overrides: str) -> str:
    """Return the output of `python launch/evaluate.py`."""
    done = subprocess.run(
        [interpreter, "launch/evaluate.py", *overrides],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "150"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


SCHEDULES = ("step_alternating", "word")
SMALL = ("eval=full", "eval.problems=40", "eval.samples=2", "eval.pass_at=[1,2]", "eval.prefixes=[0,0.75]")


@pytest.mark.engines
def test_all_measures_of_senior_of_run(run_folder: Path) -> None:
    said = evaluate(python(), f"senior={run_folder}", "name=whole", *SMALL)
    folder = run_folder / "evaluation" / "whole"
    result = json.loads((folder / "result.json").read_text())
    scores = {name: entry["value"] for name, entry in result["scores"].items()}
    assert set(scores) == {
        *(f"solo/{name}" for name in ("accuracy", "pass@2", "tokens", "greedy", "jargon_share", "greedy_jargon_share")),
        *(f"solo/{name}_accuracy" for name in ("plain", "jargon") if f"solo/{name}_accuracy" in scores),
        *(f"junior_alone/{name}" for name in ("accuracy", "pass@2", "greedy")),
        *(f"team/{s}/{name}" for s in SCHEDULES for name in ("accuracy", "pass@2", "senior_share", "handoffs")),
        *(f"team/{s}/retention@{k}" for s in SCHEDULES for k in (1, 2)),
        *(f"takeover/{percent}%" for percent in (0, 75, 100)),
        *("drift/kl_senior_junior", "drift/kl_junior_senior"),
        *(f"legibility/{author}_text{pooled}" for author in ("senior", "junior") for pooled in ("", "_pooled")),
        *("acceptance/rate", *(f"acceptance/length@{k}" for k in range(1, 9))),
    }
    # The senior is the base model, and so is the junior.
    assert scores["drift/kl_senior_junior"] == pytest.approx(0, abs=1e-5)
    assert scores["acceptance/rate"] == pytest.approx(1, abs=1e-5)
    assert 0.005 < scores["legibility/senior_text"] < 0.2
    assert 0.35 < scores["team/word/senior_share"] < 0.65
    assert scores["team/word/handoffs"] > 2 * scores["team/step_alternating/handoffs"] > 2
    assert 0.2 < scores["solo/accuracy"] <= scores["solo/pass@2"]
    assert scores["takeover/0%"] <= scores["takeover/75%"] + 0.1
    for entry in result["scores"].values():
        assert entry["low"] <= entry["value"] <= entry["high"]
    assert result["settings"]["eval"]["sampling"] == {"temperature": 0.5, "max_tokens": 96, "top_p": 1.0, "top_k": 0}
    problems = [json.loads(line) for line in (folder / "problems.jsonl").read_text().splitlines()]
    assert len(problems) == result["problems"] == 40
    for name, value in scores.items():
        totals, weights = np.array([problem["scores"][name] for problem in problems]).T
        assert totals.sum() / weights.sum() == pytest.approx(value)
    assert scores["team/word/retention@1"] == pytest.approx(scores["team/word/accuracy"] / scores["solo/accuracy"])
    texts_of_all = [json.loads(line) for line in (folder / "texts.jsonl").read_text().splitlines()]
    for kind, measure in (("solo", "solo"), ("team/word", "team/word"), ("junior_alone", "junior_alone")):
        correct = [row["correct"] for row in texts_of_all if row["kind"] == kind]
        assert len(correct) == 80 and np.mean(correct) == pytest.approx(scores[f"{measure}/accuracy"])
    assert (folder / "evaluation.png").stat().st_size > 10_000
    assert "| team/step_alternating/accuracy |" in (folder / "table.md").read_text()
    assert "legibility/junior_text" in said


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.engines
def test_repeated_evaluation_gives_same_scores(tmp_path: Path) -> None:
    for name in ("one", "other"):
        evaluate(sys.executable, f"name={name}", f"log.dir={tmp_path}", *SMALL, "eval.problems=200")
    one, other = (json.loads((tmp_path / name / "result.json").read_text())["scores"] for name in ("one", "other"))
    assert one == other
