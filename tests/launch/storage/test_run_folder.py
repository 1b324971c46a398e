"""Tests of the files of a run folder."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from launch.storage.checkpoints import Checkpoint
from launch.storage.resume import Resumption
from launch.storage.run_folder import EVALUATED_PROBLEMS, EVALUATED_TEXTS, RunFolder
from tandem.config.load import load
from tandem.config.schema import Config, ConfigError
from tandem.measures.result_rows import problem_rows, text_rows
from tandem.measures.score import Score
from tandem.records.json_files import LogReader
from tandem.records.run_record import saved_settings
from tandem.rollout import JUNIOR, SENIOR, Group, Problem, Verdict
from tandem.schedule import Schedule, boundary_table
from tests.support.builders import judged_group, scheduled_rollout, small_tokenizer

SOLUTION = "Start with 46.\nTake 3: 46 - 3 = 43.\nThe answer is \\boxed{43}.<|end|>"
ROWS = [
    {"step": 0, "weights/version": 0, "solo/accuracy": 0.5},
    {"step": 1, "weights/version": 1, "reward/mean": 0.25, "loss/policy": -0.125},
    {"step": 2, "weights/version": 2, "reward/mean": 0.5, "loss/policy": 0.0625, "solo/accuracy": 0.75},
]


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    """The configuration of a run named `first` in `tmp_path`."""
    given = {
        "name": "first",
        "log": {"dir": str(tmp_path), "samples_per_step": 2},
        "model": {"source": "zoo", "recipe": "plain"},
        "data": {"source": "arith"},
    }
    return load(OmegaConf.create(given))


def written_group(seed: int, verdicts: list[Verdict]) -> Group:
    """Return a group whose rollouts all are `SOLUTION`, with different authors."""
    tokenizer = small_tokenizer()
    boundaries = boundary_table(tokenizer, "word_or_newline", len(tokenizer))
    tokens = tokenizer.encode(SOLUTION)
    rollouts = [scheduled_rollout(Schedule(), boundaries, seed + i, tokens) for i in range(len(verdicts))]
    return judged_group(rollouts, verdicts)


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl", "samples.jsonl"])
def test_folder_in_place_of_file_is_refused(settings: Config, tmp_path: Path, name: str) -> None:
    (tmp_path / "first" / name).mkdir(parents=True)
    with pytest.raises(ConfigError, match=f"name=first: .*{name} is not a file that can be written; remove it"):
        RunFolder(settings)


def test_resolved_configuration_is_saved(settings: Config, tmp_path: Path) -> None:
    with RunFolder(settings) as folder:
        pass
    assert folder.path == tmp_path / "first"
    assert load(OmegaConf.create(saved_settings(folder.path / "config.yaml"))) == settings


def test_metrics_are_written_at_once_as_one_object_per_step(settings: Config) -> None:
    with RunFolder(settings) as folder:
        for count, row in enumerate(ROWS, start=1):
            folder.log(row)
            assert json_lines(folder.path / "metrics.jsonl") == ROWS[:count]


def test_total_time_goes_on_after_resume(settings: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("launch.storage.run_folder.time.monotonic", lambda: now)
    with RunFolder(settings) as folder:
        now = 107.0
        folder.log({"step": 1} | folder.times())
    with RunFolder(settings, Resumption(folder.path, Checkpoint(folder.path / "checkpoints" / "step-000001"))) as folder:
        now = 110.0
        assert folder.times()["run/total_s"] == pytest.approx(7 + 3)
    (row,) = json_lines(folder.path / "metrics.jsonl")
    assert row["run/total_s"] == 7 and abs(row["run/unix_s"] - time.time()) < 60


def test_nan_is_left_out(settings: Config) -> None:
    with RunFolder(settings) as folder:
        folder.log({"step": 1, "grad/norm": math.inf, "loss/policy": math.nan, "reward/mean": np.float64(0.5)})
    assert json_lines(folder.path / "metrics.jsonl") == [{"step": 1, "reward/mean": 0.5}]


def test_tensorboard_has_same_metrics(settings: Config) -> None:
    with RunFolder(settings) as folder:
        for row in ROWS:
            folder.log(row)
    events = EventAccumulator(str(folder.path / "tensorboard"))
    events.Reload()
    for key in {key for row in ROWS for key in row}:
        expected = [(row["step"], row[key]) for row in ROWS if key in row]
        assert [(event.step, event.value) for event in events.Scalars(key)] == expected


def test_tensorboard_drops_repeated_steps_of_resumed_run(settings: Config) -> None:
    with RunFolder(settings) as folder:
        for row in ROWS:
            folder.log(row)
    again = Resumption(folder.path, Checkpoint(folder.path / "checkpoints" / "step-000001"))
    with RunFolder(settings, again) as folder:
        folder.log({"step": 2, "reward/mean": 1.0})
    assert folder.rows == [*ROWS[:2], {"step": 2, "reward/mean": 1.0}] == json_lines(folder.path / "metrics.jsonl")
    events = EventAccumulator(str(folder.path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("reward/mean")] == [(1, 0.25), (2, 1.0)]


def test_repeated_evaluation_is_added_to_row_of_its_step(settings: Config) -> None:
    whole = ROWS[2]
    cut_short = {key: value for key, value in whole.items() if key != "solo/accuracy"}
    with RunFolder(settings) as folder:
        for row in (*ROWS[:2], cut_short):
            folder.log(row)
    watched = LogReader(folder.path / "metrics.jsonl")
    assert list(watched.new()) == [*ROWS[:2], cut_short]
    again = Resumption(folder.path, Checkpoint(folder.path / "checkpoints" / "step-000002"))
    with RunFolder(settings, again) as folder:
        folder.log({"step": 2, "solo/accuracy": 0.75})
        assert list(watched.new()) == [*ROWS[:2], whole], "a reader reads the new file from its start"
        folder.log({"step": 3, "reward/mean": 0.5})
    assert folder.rows == json_lines(folder.path / "metrics.jsonl") == [*ROWS, {"step": 3, "reward/mean": 0.5}]
    events = EventAccumulator(str(folder.path / "tensorboard"))
    events.Reload()
    for key in whole:
        assert [event.value for event in events.Scalars(key) if event.step == 2] == [whole[key]]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ConfigError("log.dir=/x: /x cannot be written")])
def test_interrupt_without_disk_releases_folder(settings: Config, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    def run() -> None:
        with RunFolder(settings) as folder:
            folder.log(ROWS[0])
            monkeypatch.setattr("launch.storage.run_folder.runs_folder", fail)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stop:
        run()
    monkeypatch.undo()
    assert stop.value.args == ()
    again = Resumption(Path(settings.log.dir) / "first")
    with RunFolder(replace(settings, resume="auto"), again), pytest.raises(ConfigError, match="is in use by process"):
        RunFolder(replace(settings, resume="auto"), again)


def test_interrupt_without_folder_is_still_reported(settings: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> None:
        with RunFolder(settings) as folder:
            folder.log(ROWS[0])
            monkeypatch.setattr("launch.storage.places.unwritable", lambda place: "Read-only file system")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="after step 0; there is no checkpoint yet. Start again"):
        run()


@pytest.mark.parametrize("line", ["{", "7", "[]", "{}", '{"step": "one"}', "\x00", '{"step": 1', "[" * 100_000])
def test_error_names_malformed_line(tmp_path: Path, line: str) -> None:
    (path := tmp_path / "metrics.jsonl").write_text(f'{{"step": 0}}\n{line}\n')
    with pytest.raises(ConfigError, match=f"^{path}: line 2 is not what a run writes; restore it from a copy, or name another"):
        list(LogReader(path).new())


def test_tensorboard_can_be_turned_off(settings: Config) -> None:
    settings.log.tensorboard = False
    with RunFolder(settings) as folder:
        folder.log(ROWS[0])
    assert not (folder.path / "tensorboard").exists()


def test_samples_have_authors(settings: Config) -> None:
    groups = [written_group(seed, [Verdict.CORRECT, Verdict.WRONG]) for seed in (10, 20, 30)]
    settings.log.samples_per_step = 3
    with RunFolder(settings) as folder:
        folder.save_samples(1, groups, small_tokenizer())
        folder.save_samples(2, groups[2:], small_tokenizer())
        samples = json_lines(folder.path / "samples.jsonl")
    assert [sample["step"] for sample in samples] == [1, 1, 1, 2, 2], "three a step, as log.samples_per_step says"
    kept = [(groups[0], 0), (groups[0], 1), (groups[1], 0), (groups[2], 0), (groups[2], 1)]
    for sample, (group, index) in zip(samples, kept, strict=True):
        rollout = group.rollouts[index]
        assert "".join(turn["text"] for turn in sample["turns"]) == SOLUTION
        assert [turn["author"] for turn in sample["turns"]] == [("junior", "senior")[turn.author] for turn in rollout.turns]
        assert (sample["id"], sample["problem"], sample["question"], sample["gold"]) == (
            rollout.id,
            "arith/0",
            "How many?",
            "7",
        )
        outcome = ("correct", 1.0, 0.5) if index == 0 else ("wrong", 0.0, -0.5)
        assert (sample["set"], sample["end"]) == ("training", "eos")
        assert (sample["verdict"], sample["reward"], sample["advantage"]) == outcome
        assert sample["extracted"] == "7"
    assert any(len(sample["turns"]) > 2 for sample in samples)


def test_samples_have_tokens_and_logprobs(settings: Config) -> None:
    group = written_group(10, [Verdict.CORRECT])
    (rollout,) = group.rollouts
    rollout.logprobs = -np.arange(len(rollout), dtype=np.float32) / 8
    rollout.logprobs[2] = -np.inf
    with RunFolder(settings) as folder:
        folder.save_samples(1, [group], small_tokenizer())
        (sample,) = json_lines(folder.path / "samples.jsonl")
    assert sample["prompt_ids"] == rollout.prompt_ids.tolist()
    for turn in sample["turns"]:
        assert "".join(turn["tokens"]) == turn["text"]
        assert turn["tokens"] == [small_tokenizer().decode([token]) for token in turn["token_ids"]], "each of these is text"
    told = {key: [value for turn in sample["turns"] for value in turn[key]] for key in ("token_ids", "logprobs")}
    assert told["token_ids"] == rollout.token_ids.tolist()
    assert told["logprobs"] == [None if i == 2 else -i / 8 for i in range(len(rollout))], "JSON has no infinity"


def test_samples_of_evaluation_are_marked(settings: Config) -> None:
    group = written_group(10, [Verdict.CORRECT])
    group.advantages = np.zeros(0, np.float32)
    with RunFolder(settings) as folder:
        folder.save_samples(0, [group], small_tokenizer(), held_out=True)
        (sample,) = json_lines(folder.path / "samples.jsonl")
    assert sample["set"] == "held_out" and "advantage" not in sample


def test_rows_of_evaluations_follow_steps_of_resumed_run(settings: Config) -> None:
    groups = [written_group(seed, [Verdict.CORRECT, Verdict.WRONG]) for seed in (10, 20)]
    scores = {"solo/accuracy": Score(np.array([0.5, 0.0]), np.ones(2))}
    with RunFolder(settings) as folder:
        for step in (0, 1, 2):
            folder.log({"step": step})
            folder.save_evaluation(step, problem_rows([group.prompt for group in groups], scores), text_rows({"solo": groups}))
        problems, texts = (json_lines(folder.path / name) for name in (EVALUATED_PROBLEMS, EVALUATED_TEXTS))
    assert [row["step"] for row in problems] == [0, 0, 1, 1, 2, 2]
    assert problems[1] == {"step": 0, "id": "arith/0", "scores": {"solo/accuracy": [0.0, 1.0]}}
    assert [(row["sample"], row["correct"]) for row in texts[:4]] == [(0, True), (1, False)] * 2
    rollout = groups[0].rollouts[1]
    assert texts[1] == {
        "step": 0,
        "id": "arith/0",
        "kind": "solo",
        "sample": 1,
        "correct": False,
        "verdict": "wrong",
        "tokens": len(rollout),
        "senior_tokens": int(rollout.authorship.sum()),
        "handoffs": rollout.handoffs,
        "end": "eos",
    }
    resumed = Resumption(folder.path, Checkpoint(folder.path / "checkpoints" / "step-000001"))
    with RunFolder(settings, resumed) as folder:
        rows = [json_lines(folder.path / name) for name in (EVALUATED_PROBLEMS, EVALUATED_TEXTS)]
    assert rows == [problems[:4], texts[:8]]


# Loggers


def test_tensorboard_shows_turn_lengths_and_samples(settings: Config) -> None:
    groups = [written_group(seed, [Verdict.CORRECT, Verdict.WRONG]) for seed in (10, 20)]
    groups[0].prompt = replace(groups[0].prompt, problem=Problem("<script>", "How many?", "7"))
    with RunFolder(settings) as folder:
        folder.save_samples(1, groups, small_tokenizer())
    events = EventAccumulator(str(folder.path / "tensorboard"))
    events.Reload()
    turns = [turn for group in groups for rollout in group.rollouts for turn in rollout.turns]
    for author, key in ((SENIOR, "turns/senior_tokens"), (JUNIOR, "turns/junior_tokens")):
        (event,) = events.Histograms(key)
        lengths = [turn.stop - turn.start for turn in turns if turn.author == author]
        assert (event.step, event.histogram_value.num) == (1, len(lengths))
        assert event.histogram_value.sum == sum(lengths)
    (event,) = events.Tensors("samples/training/text_summary")
    (table,) = event.tensor_proto.string_val
    assert "🟦" in table.decode() and "🟧" in table.decode() and "&lt;script&gt;" in table.decode()


def test_weights_and_biases_has_same_metrics(settings: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="needs the package wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    settings.log.wandb = "tandem"
    with RunFolder(settings) as folder:
        folder.save_samples(1, [written_group(10, [Verdict.CORRECT])], small_tokenizer())
        folder.log(ROWS[1])
    (kept,) = folder.path.glob("wandb/offline-run-*")
    written = next(kept.glob("*.wandb")).read_bytes()
    for key in (b"reward/mean", b"turns/senior_tokens", b"samples/training"):
        assert key in written
    (table,) = kept.rglob("*.html")
    assert "Start" in table.read_text()


def test_run_is_never_overwritten(settings: Config) -> None:
    with RunFolder(settings) as folder:
        folder.log(ROWS[0])
    with pytest.raises(
        ConfigError,
        match="name=first: a run .*first exists, which has ended at step 0; choose another name, remove it, or",
    ):
        RunFolder(settings)
    assert json_lines(folder.path / "metrics.jsonl") == ROWS[:1]


def test_default_name_is_date_and_schedule(settings: Config, tmp_path: Path) -> None:
    settings.name, settings.schedule.name = "", "solo"
    with RunFolder(settings) as folder:
        pass
    assert folder.path.parent == tmp_path and folder.path.match("20*-solo")
    assert OmegaConf.load(folder.path / "config.yaml").name == folder.path.name


def test_folder_is_created_at_start_of_run(settings: Config, tmp_path: Path) -> None:
    RunFolder(settings)
    assert not list(tmp_path.iterdir())


def test_error_keeps_logged_metrics(settings: Config) -> None:
    folder = RunFolder(settings)

    def fail() -> None:
        with folder:
            folder.log(ROWS[0])
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert json_lines(folder.path / "metrics.jsonl") == ROWS[:1]
    assert folder.senior == folder.path / "senior" and not folder.senior.exists()
