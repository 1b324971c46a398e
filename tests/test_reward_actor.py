"""The reward actor, on Ray."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import psutil
import pytest
import ray

from actors.reward import RewardActor, judge_groups
from tandem.config import JudgeConfig
from tandem.rollout import EndReason, Group, Problem, Prompt, Rollout, Verdict


def group(answer: str, texts: list[str]) -> Group:
    nothing = np.zeros(0, dtype=np.int32)
    rollouts = [
        Rollout(str(i), nothing, nothing, nothing, nothing, nothing, end=EndReason.EOS, seed=i, text=text)
        for i, text in enumerate(texts)
    ]
    return Group(Prompt(Problem(id=answer, question="?", answer=answer), token_ids=()), rollouts)


def workers() -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline", "status"]) if "tandem.verify.worker" in (p.info["cmdline"] or [])]


@pytest.mark.usefixtures("ray_session")
def test_groups_get_judgements_and_workers_end_with_the_actor() -> None:
    before = set(workers())
    actor: Any = ray.remote(num_cpus=0)(RewardActor).remote(JudgeConfig(workers=2))
    groups = [
        group("40", ["\\boxed{40}", "\\boxed{41}", "It is 40."]),
        group("\\sqrt{8}", ["\\boxed{2\\sqrt{2}}", "\\boxed{\\sqrt{8}}", "\\boxed{2.83}"]),
    ]
    judge_groups(actor, groups, timeout_s=60)
    assert groups[0].verdicts == [Verdict.CORRECT, Verdict.WRONG, Verdict.UNPARSABLE]
    assert groups[1].verdicts == [Verdict.CORRECT, Verdict.CORRECT, Verdict.WRONG]
    assert [judgement.score for judgement in groups[1].judgements] == [1.0, 1.0, 0.0]
    assert [judgement.extracted for judgement in groups[0].judgements] == ["40", "41", None]

    started = set(workers()) - before
    assert len(started) == 2
    ray.kill(actor)
    give_up = time.monotonic() + 10.0
    while started & set(workers()):
        assert time.monotonic() < give_up
        time.sleep(0.05)
