"""Tests of model families: inspection, the learner's log-probabilities, and the gap of short runs."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

from learner.policy import Policy
from tandem.models.inspection import inspect_model
from tandem.models.logit_transform import LOGIT_SETTINGS
from tandem.models.served import served_architectures
from tests.support import ROOT
from tests.support.model_families import FAMILIES, ROWS, save_family

pytestmark = pytest.mark.seconds


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one family, in a folder whose path has spaces."""
    return save_family(request.param, tmp_path_factory.mktemp("a model") / request.param)


def test_learner_logprobs_equal_transformers(family: Path) -> None:
    facts = inspect_model(family, "model.path=family")
    # The default attention ignores that scores are capped.
    attention = "eager" if family.name.startswith("gemma2") else None
    model = AutoModelForCausalLM.from_pretrained(family, dtype=torch.float32, attn_implementation=attention)
    assert facts.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert facts.vocabulary == model.config.vocab_size and facts.eos_ids == (1,)
    policy = Policy(str(family), dtype=torch.float32, temperature=0.7, chunk=16)
    ids = torch.randint(ROWS, (2, 70), generator=torch.Generator().manual_seed(1))
    positions = torch.cat([row * 70 + torch.arange(69) for row in range(2)])
    targets = ids.flatten()[positions + 1]
    with torch.no_grad():
        logprobs, _ = policy(ids, positions, targets)
        expected = torch.log_softmax(model(ids).logits / 0.7, -1).flatten(0, 1)[positions].gather(1, targets[:, None])[:, 0]
    assert expected.std() > 1, "the model's logits depend on the tokens"
    torch.testing.assert_close(logprobs, expected, atol=1e-5, rtol=0)


@pytest.fixture
def temporary() -> Iterator[Path]:
    """The folder of temporary files; its path is short because of Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def trained(model: Path, temporary: Path, runs: Path, *overrides: str) -> list[dict[str, float]]:
    """Run three short steps on `model` in `runs`; return the metrics."""
    # A verifier that accepts some random texts, so that the weights change.
    data = ["model=hf", f"model.path='{model}'", "data=arith", "data.verifier=operator:lt", "data.max_prompt_tokens=128"]
    few = ["rollout.prompts_per_step=4", "rollout.group_size=4", "rollout.sampling.max_tokens=32", "eval.problems=4"]
    arguments = [f"log.dir={runs}", "name=run", "schedule=token", "steps=3", "learner.lr=1e-3", *data, *few, *overrides]
    done = subprocess.run(
        [sys.executable, "launch/train.py", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (runs / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["weights/version"] for row in rows] == [0, 1, 2, 3]
    assert all(row.get("run/restarts", 0) == 0 for row in rows), done.stdout
    return rows


@pytest.mark.slow
@pytest.mark.engines
def test_three_steps_without_gap(family: Path, temporary: Path, tmp_path: Path) -> None:
    """Engines and learner compute the same log-probabilities, also after weight syncs."""
    rows = trained(family, temporary, tmp_path)
    assert max(row["logprob/gap_mean"] for row in rows[1:]) < (1e-3 if "bloom" in family.name else 1e-4)
    assert rows[1]["grad/norm"] + rows[2]["grad/norm"] > 0, "the last weights differ from the base"


@pytest.mark.slow
@pytest.mark.engines
def test_bfloat16_engines_support_any_rotary_width(temporary: Path, tmp_path: Path) -> None:
    """StableLM rotates ten components in each half; vLLM's CPU kernel crashes on them in bfloat16."""
    model = save_family("stablelm", tmp_path / "stablelm")
    rows = trained(model, temporary, tmp_path, "model.dtype=bfloat16", "learner.dtype=bfloat16", "guard.max_logprob_gap=0.5")
    assert all(row["logprob/gap_mean"] < 0.5 for row in rows[1:])


def test_every_family_is_documented(family: Path) -> None:
    (architecture,) = json.loads((family / "config.json").read_text())["architectures"]
    assert f"| `{architecture}` |" in (ROOT / "docs" / "models.md").read_text()


# The inspection's facts about the libraries


@pytest.mark.slow
@pytest.mark.engines
def test_served_architectures_equal_those_of_vllm() -> None:
    script = (
        "from vllm.model_executor.models import registry as r\n"
        "print(*r._TEXT_GENERATION_MODELS, *r._TRANSFORMERS_SUPPORTED_MODELS, sep='\\n')"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120).stdout
    served = served_architectures()
    assert served is not None and served <= set(printed.split())
    assert {"Qwen3ForCausalLM", "GPTNeoXForCausalLM"} <= served and "BertModel" not in served


@pytest.mark.slow
def test_every_logit_transform_is_known() -> None:
    """Every setting of a model that scales or caps its logits is in `LOGIT_SETTINGS`."""
    changed = re.compile(r"logits = .*(tanh|soft_cap|[*/] ?self\.)|last_hidden_state / |hidden_states = hidden_states / ")
    sources = {each.__name__: inspect.getsource(each.forward) for each in MODEL_FOR_CAUSAL_LM_MAPPING.values()}
    changing = {name: source for name, source in sources.items() if changed.search(source)}
    assert {"CohereForCausalLM", "Gemma2ForCausalLM", "GraniteForCausalLM", "MiniCPM3ForCausalLM"} <= changing.keys()
    unknown = [name for name, source in changing.items() if not any(setting in source for setting in LOGIT_SETTINGS)]
    assert not unknown, f"transformers {transformers.__version__}"
