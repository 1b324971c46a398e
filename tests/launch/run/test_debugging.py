"""Tests of a learner without engines, on saved and random rollouts, and of the trace of a step."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launch.cluster.plan import assumed_plan
from launch.run.given_groups import random_step_groups
from launch.run.learner_only import read_learner_inputs, train_learner
from launch.run.profiling import step_clock
from tandem.authors import Authors, load_authors
from tandem.config.schema import Config, ConfigError
from tandem.records.saved_rollouts import (
    Origin,
    UnreadableRollouts,
    load_step,
    read_origin,
    save_step,
)
from tandem.records.step_folders import remove_steps_after, step_folders
from tandem.rollout import SENIOR, Group, StopReason, Verdict
from tandem.runtime.trace import Span, TraceRow, chrome_trace
from tandem.verify.judgement import Judgement
from tests.support.builders import foreign_tokenizer, save_model, small_tokenizer
from tests.support.lockstep_runs import rows
from tests.support.random_groups import random_groups

ORIGIN = Origin("model", "tokenizer", 200, 1.0)


def judged_groups() -> list[Group]:
    """Return random groups with every optional field set."""
    groups = random_groups(3)
    for group in groups:
        group.judgements = [Judgement(Verdict.WRONG, "é\u2028", 0.25, seconds=1.5) for _ in group.rollouts]
        group.rewards = group.advantages + 1
        group.reward_terms = {"correct": group.rewards - 1, "format": group.rewards * 0}
        group.prompt.junior_token_ids[1] = (5, 6)
        odd = group.rollouts[1]
        odd.breaks, odd.text, odd.junior = odd.token_ids % 2 == 0, "漢\x00", 1
        odd.stop_reasons = {SENIOR: StopReason.EOS, 0: None}
    return groups


def comparable(value: Any) -> Any:
    """Return a value that equals another's if all contents are equal, dtypes too."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.tolist()
    if isinstance(value, list):
        return [comparable(each) for each in value]
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items()}
    return comparable(vars(value)) if hasattr(value, "__dataclass_fields__") else value


def test_saved_groups_are_read_back_unchanged(tmp_path: Path) -> None:
    save_step(tmp_path, 7, judged_groups(), ORIGIN)
    (step,) = step_folders(tmp_path).values()
    assert step.name == "step-000007" and read_origin(step) == ORIGIN
    assert comparable(load_step(step)) == comparable(judged_groups())


def test_resumed_run_removes_later_steps(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_step(tmp_path, step, judged_groups(), ORIGIN)
    remove_steps_after(tmp_path, 1)
    assert list(step_folders(tmp_path)) == [1]


def test_corrupt_file_and_other_format_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_step(tmp_path, 1, judged_groups(), ORIGIN)
    (step,) = step_folders(tmp_path).values()
    monkeypatch.setattr("tandem.records.saved_rollouts.VERSION", 4)
    with pytest.raises(UnreadableRollouts, match="version 3 of the format, and this program reads version 4"):
        read_origin(step)
    arrays = bytearray((step / "arrays.safetensors").read_bytes())
    arrays[-1] ^= 1
    (step / "arrays.safetensors").write_bytes(arrays)
    with pytest.raises(UnreadableRollouts, match="is damaged: arrays.safetensors has another checksum"):
        read_origin(step)


def learner_only(settings: Config, given: object, name: str, **others: Any) -> Config:
    """Return `settings` for a run without engines."""
    return replace(settings, name=name, learner_only=str(given), log=replace(settings.log, rollouts=False), **others)


def test_learner_only_run_equals_run_with_engines(
    whole_run: Path, lockstep_settings: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = read_learner_inputs(learner_only(lockstep_settings, whole_run, "alone"))
    with inputs.folder as folder:
        train_learner(inputs)
    assert re.search(r"^learner rank 0: peak memory: host \d+\.\d\d GiB, GPU none$", capsys.readouterr().out, re.MULTILINE)
    assert "loss/policy" in rows(folder.path)[0]
    for alone, whole in zip(rows(folder.path), rows(whole_run)[1:], strict=True):
        learned = {key for key in alone if key.startswith(("loss/", "grad/", "policy/", "logprob/", "reward/", "step"))}
        assert {key: alone[key] for key in learned} == pytest.approx({key: whole[key] for key in learned}, rel=1e-6, abs=1e-9)
    weights = [path / "model.safetensors" for path in (folder.senior, whole_run / "seniors" / "step-000004")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_rollouts_of_other_models_are_refused(whole_run: Path, lockstep_settings: Config, tmp_path: Path) -> None:
    def refusal(settings: Config, given: Path = whole_run) -> str:
        with pytest.raises(ConfigError, match=f"^learner_only={given}: ") as refused:
            read_learner_inputs(learner_only(settings, given, "refused"))
        return str(refused.value)

    hotter = replace(lockstep_settings.rollout.sampling, temperature=0.5)
    settings = replace(lockstep_settings, rollout=replace(lockstep_settings.rollout, sampling=hotter))
    assert "another temperature; set rollout.sampling.temperature=1" in refusal(settings)
    other = save_model(tmp_path / "other", small_tokenizer(), initializer_range=0.2)
    settings = replace(lockstep_settings, model=replace(lockstep_settings.model, path=str(other)))
    assert "another base model; set model to the one that" in refusal(settings)
    foreign = save_model(tmp_path / "foreign", foreign_tokenizer(), vocab_size=430)
    settings = replace(lockstep_settings, model=replace(lockstep_settings.model, path=str(foreign)))
    assert "in the tokens of another tokenizer" in refusal(settings) and "320 outputs, not 430" in refusal(settings)
    assert "holds no rollouts; name a run folder" in refusal(lockstep_settings, tmp_path)
    shutil.copytree(whole_run / "rollouts", tmp_path / "rollouts")
    (tmp_path / "rollouts" / "step-000002" / "groups.jsonl").unlink()
    assert "groups.jsonl is missing; write them again" in refusal(lockstep_settings, tmp_path)


def fake(settings: Config, authors: Authors, kind: str) -> list[Group]:
    return random_step_groups(replace(settings, learner_only=kind), authors)(1)


def test_random_rollouts_have_configured_sizes(lockstep_settings: Config) -> None:
    authors, rollout = load_authors(lockstep_settings), lockstep_settings.rollout
    drawn, longest = (fake(lockstep_settings, authors, kind) for kind in ("fake", "fake_longest"))
    for groups in (drawn, longest):
        assert [len(group.rollouts) for group in groups] == [rollout.group_size] * rollout.prompts_per_step
    lengths = [{len(rollout) for group in groups for rollout in group.rollouts} for groups in (drawn, longest)]
    assert lengths[1] == {rollout.sampling.max_tokens} and len(lengths[0]) > 1 and max(lengths[0]) <= max(lengths[1])
    assert {len(group.prompt.token_ids) for group in longest} == {lockstep_settings.data.max_prompt_tokens}


@pytest.mark.usefixtures("warm_learner")
def test_random_rollouts_measure_memory_and_trace_update(lockstep_settings: Config) -> None:
    settings = learner_only(lockstep_settings, "fake_longest", "fake", steps=2, profile=True)
    inputs = read_learner_inputs(settings)
    with inputs.folder as folder:
        train_learner(inputs)
    assert [row["step"] for row in folder.rows] == [1, 2] and not folder.senior.exists()
    assert all(row["memory/rank0/host_gib"] > 0.1 and row["time/update_s"] > 0 for row in folder.rows)
    events = json.loads(gzip.decompress(folder.trace.read_bytes()))["traceEvents"]
    assert [event["args"]["name"] for event in events if event["name"] == "process_name"] == ["driver", "learner rank 0"]
    spans = {(event["pid"], event["name"]): event for event in events if event["ph"] == "X"}
    driver, rank = spans[1, "update"], spans[2, "update"]
    assert driver["ts"] <= rank["ts"] and rank["ts"] + rank["dur"] <= driver["ts"] + driver["dur"]
    assert any(name.startswith("aten::") for _, name in spans)


def test_plan_of_partial_run_has_only_its_part(config: Config) -> None:
    settings = replace(config, cluster=replace(config.cluster, gpus=4), plan_only=True)
    for mode in ("local", "cluster"):
        settings = replace(settings, mode=replace(config.mode, name=mode))
        assert {slot.role for slot in assumed_plan(replace(settings, learner_only="fake")).slots} == {"learner"}
        assert {slot.role for slot in assumed_plan(replace(settings, rollouts_only=True)).slots} == {"senior", "junior"}


def test_trace_covers_exactly_step() -> None:
    profile = {
        "baseTimeNanoseconds": 1_000_000_000,
        "traceEvents": [
            {"ph": "M", "name": "thread_name", "pid": 7, "tid": 8, "args": {"name": "main"}},
            {"ph": "X", "name": "matmul", "pid": 7, "tid": 8, "ts": 9.0e6, "dur": 0.5e6},
            {"ph": "X", "name": "before", "pid": 7, "tid": 8, "ts": 0.0, "dur": 1.0},
            {"ph": "X", "cat": "Trace", "name": "PyTorch Profiler (0)", "pid": "Spans", "tid": "x", "ts": 9e6, "dur": 1.0},
        ],
    }
    spans = [Span("early", "a", 9.0, 10.5), Span("late", "b", 11.0, 99.0), Span("gone", "b", 1.0, 2.0)]
    rows = [TraceRow("driver", spans), TraceRow("rank", profile=gzip.compress(json.dumps(profile).encode())), TraceRow("idle")]
    events = chrome_trace(rows, 10.0, 12.0)["traceEvents"]
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    lanes = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == "thread_name"}
    found = [(e["name"], names[e["pid"] - 1], lanes[e["pid"], e["tid"]], e["ts"], e["dur"]) for e in events if e["ph"] == "X"]
    assert names == ["driver", "rank", "idle"]
    assert found == [
        ("early", "driver", "a", 0.0, 0.5e6),
        ("late", "driver", "b", 1e6, 1e6),
        ("matmul", "rank", "main", 0.0, 0.5e6),
    ]


def test_profiled_step_prints_path_of_trace(tmp_path: Path) -> None:
    config, said = Config(profile=True), list[str]()
    for step in (1, 2):
        with step_clock(config, step, tmp_path / "trace.json.gz", [], said.append):
            pass
    assert said == [f"trace of step 2: {tmp_path / 'trace.json.gz'}; open it in ui.perfetto.dev"]
