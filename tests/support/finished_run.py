"""Check the folder of a finished training run on real engines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

STEP_KEYS = {
    "step",
    "weights/version",
    "reward/mean",
    "reward/std",
    "reward/timeouts",
    "reward/unparsable",
    "tandem/senior_token_fraction",
    "tandem/handoffs_per_rollout",
    "rollout/tokens",
    "rollout/tokens_per_s",
    "rollout/groups_dropped",
    "rollout/groups_refilled",
    "rollout/truncated_fraction",
    "logprob/gap_mean",
    "weights/canary_gap",
    "loss/policy",
    "policy/clip_fraction",
    "policy/ratio_mean",
    "policy/entropy",
    "grad/norm",
    "time/generate_s",
    "time/judge_s",
    "time/update_s",
    "time/publish_s",
    "time/step_s",
}


def check_finished_run(run: Path, steps: int) -> None:
    """Check the files of a run of `steps` steps of tandem training, evaluated before the first and after the last."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    weights_mib = (run / "senior" / "model.safetensors").stat().st_size / 2**20
    assert [row["step"] for row in rows] == [row["weights/version"] for row in rows] == list(range(steps + 1))
    evaluated = (rows[0], rows[-1])
    assert [row for row in rows if "solo/accuracy" in row] == [*evaluated]
    for row in rows[1:]:
        assert set(row) >= STEP_KEYS
        assert None not in row.values()
        assert 0.3 < row["tandem/senior_token_fraction"] < 0.7
        assert row["logprob/gap_mean"] < 1e-3
        assert row["weights/canary_gap"] < 1e-3
        # The rewards of all groups can agree in a step of few groups; that step has no gradient.
        assert (row["grad/norm"] > 0) == (row["reward/constant_groups"] < 1)
        assert row["weights/published_mib"] == pytest.approx(weights_mib, rel=0.01)
    assert "tandem/senior_token_fraction" not in rows[0]
    texts = [json.loads(line) for line in (run / "evaluation_texts.jsonl").read_text().splitlines()]
    for row in evaluated:
        correct = [text["correct"] for text in texts if text["step"] == row["step"]]
        assert row["solo/accuracy"] == pytest.approx(np.mean(correct))
    samples = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    assert {turn["author"] for sample in samples for turn in sample["turns"]} == {"senior", "junior"}
    assert yaml.safe_load((run / "config.yaml").read_text())["rollout"]["replicas"] == 2
    assert list((run / "tensorboard").glob("events*"))
    AutoModelForCausalLM.from_pretrained(run / "senior")
    AutoTokenizer.from_pretrained(run / "senior")
