"""Acceptance, as measured by forward passes, is what vLLM's speculative decoding counts on real engines."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tandem.authors import Authors
from tandem.config.rollout import SamplingConfig
from tandem.measures.comparison import comparison_scores
from tandem.measures.legibility import Pace
from tandem.measures.scoring import ScoringModel
from tandem.rollout import Group, Problem, Prompt
from tandem.schedule import SOLO
from tests.support import ROOT
from tests.support.builders import noisy_copy, scheduled_rollout
from tests.support.preloaded.python import python

DRAFT_TOKENS = 4
# Near the end of a text an engine drafts fewer tokens; long texts make this rare.
SAMPLING = SamplingConfig(temperature=0.8, max_tokens=240, top_p=0.95, top_k=20)


@pytest.fixture
def draft(authors: Authors, tmp_path: Path) -> Path:
    return noisy_copy(authors.senior, authors.tokenizer, tmp_path)


@pytest.mark.engines
def test_acceptance_is_what_engines_count(authors: Authors, prompts: list[Prompt], draft: Path) -> None:
    shortest = min(len(prompt.token_ids) for prompt in prompts)
    starts = [prompt.token_ids[-shortest:] for prompt in prompts]
    settings = {
        "target": str(authors.senior),
        "draft": str(draft),
        "draft_tokens": DRAFT_TOKENS,
        "prompts": starts,
        "sampling": asdict(SAMPLING),
    }
    command = [python(), "-m", "tests.support.speculative_decoding", json.dumps(settings)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-3000:]
    counted = json.loads(done.stdout.splitlines()[-1])
    # The engine samples the first token of a text from the prompt alone, without a draft.
    boundaries = np.zeros(authors.vocabulary, np.uint8)
    groups = [
        Group(
            Prompt(Problem(str(index), "", ""), (*start, text[0])),
            [scheduled_rollout(SOLO, boundaries, 0, text[1:])],
            SOLO,
        )
        for index, (start, text) in enumerate(zip(starts, counted["texts"], strict=True))
    ]
    senior, junior = (ScoringModel(path, "float32", "cpu") for path in (authors.senior, draft))
    length = comparison_scores(senior, junior, groups, SAMPLING, Pace(8192, 1024))[f"acceptance/length@{DRAFT_TOKENS}"]
    low, high = length.interval(0.99, 2000, seed=0)
    assert 1 < low < counted["accepted"] / counted["drafts"] < high < 3.5
    assert length.weights.sum() == pytest.approx(counted["drafts"], rel=0.03)
