"""Tests of what `plan_only=true` checks."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.seconds

Refused = Callable[..., str]


@pytest.mark.parametrize("assumed", [(), ("mode=local", "cluster.gpus=1")], ids=["this-machine", "assumed-gpus"])
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("data=jsonl", "data.path=/missing.jsonl"), "data.path=/missing.jsonl: there is no such file; name "),
        (("data=parquet", "data.path=/missing.parquet"), "data.path=/missing.parquet: there is no such file; name "),
        (("data=hub", "data.path="), "data.path is empty: name a dataset of the hub, or a folder"),
        (("data=reasoning_gym", "data.tasks=[chain_sums]"), "data.tasks: reasoning_gym has no task 'chain_sums'; did you mean"),
        (("model=hf", "model.path=/no/model"), "model.path=/no/model: there is no such directory; name a Hugging Face dir"),
        (("model=hf",), "model.path is empty: name a Hugging Face directory or a hub id"),
        (("junior=[self,/no/model]",), "junior[1]=/no/model: there is no such directory; name a Hugging Face directory or"),
        (("model=qwen3_4b", "model.path=/no/model"), "model.path=/no/model: there is no such directory; name a Hugging Fa"),
        (("resume=/no/run", "name="), "resume=/no/run: there is no intact checkpoint; leave resume out for a new run"),
        (("learner_only=/no/run",), "learner_only=/no/run: /no/run holds no rollouts; name a run folder of rollouts_only"),
    ],
)
def test_plan_with_missing_data_is_refused(
    refused: Refused, overrides: tuple[str, ...], message: str, assumed: tuple[str, ...]
) -> None:
    assert refused("plan_only=true", *assumed, *overrides).startswith(message)


def test_plan_that_does_not_fit_is_refused_with_its_remedy(refused: Refused) -> None:
    message = refused("plan_only=true", "mode=cluster", "cluster.gpus=8", "model=qwen3_4b")
    assert message.startswith("learner.ranks=1: a rank needs ") and "; use learner.ranks=2, which needs GPUs of" in message


def test_plan_reads_first_rows(refused: Refused, call: Callable[..., None], tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"What is {i} + 1?", "answer": i + 1}) for i in range(100)]
    (file := tmp_path / "problems.jsonl").write_text("\n".join(lines))
    given = ("plan_only=true", "data=jsonl", f"data.path={file}")
    call(*given)
    assert refused(*given, "data.question_field=problem").startswith(f"data.path={file}: malformed lines: 100; ")
    assert refused(*given, "data.held_out_path=/no.jsonl").startswith("data.held_out_path=/no.jsonl: there is no such file")
    rates = "data.pass_rates=/no.jsonl"
    assert refused(*given, rates).startswith("data.pass_rates=/no.jsonl: there is no such file")
    assert not (tmp_path / "runs").exists()


def test_plan_inspects_local_models(refused: Refused, model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "model")
    (weights,) = (tmp_path / "model").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    message = refused("plan_only=true", "model=hf", f"model.path={tmp_path / 'model'}")
    assert message.startswith(f"model.path={tmp_path / 'model'}: ") and weights.name in message


def test_plan_reports_unreachable_hub_at_once(refused: Refused) -> None:
    start = time.monotonic()
    message = refused("plan_only=true", "model=hf", "model.path=org/name")
    assert message.startswith("model.path=org/name: there is no such directory, and the hub did not provide it: ")
    assert "name a local directory" in message and "HF_HUB_OFFLINE" in message
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("overrides", [("model=smollm2",), ("model.recipe=jargon", "junior=[zoo:plain]"), ()])
def test_plan_of_zoo_model_for_gpu(
    call: Callable[..., None], overrides: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("plan_only=true", "mode=local", "cluster.gpus=1", f"cache_dir={tmp_path / 'cache'}", *overrides)
    assert "all 1 GPUs are used" in capsys.readouterr().out
    assert not (tmp_path / "cache").exists()
