"""Tests of the reward actor on Ray."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import psutil
import pytest

from actors.reward import Judge
from tandem.config.reward import JudgeConfig
from tandem.config.schema import Config
from tandem.rollout import EndReason, Group, Problem, Prompt, Rollout, Verdict
from tandem.runtime.restarts import RestartBudget
from tandem.schedule import SOLO
from tests.support.monkey import titled, workers
from tests.support.waiting import wait_until


def group(answer: str, texts: list[str]) -> Group:
    nothing = np.zeros(0, dtype=np.int32)
    rollouts = [
        Rollout(str(i), nothing, nothing, nothing, nothing, nothing, end=EndReason.EOS, seed=i, text=text)
        for i, text in enumerate(texts)
    ]
    return Group(Prompt(Problem(id=answer, question="?", answer=answer), token_ids=()), rollouts, SOLO)


@pytest.mark.usefixtures("ray_session")
def test_groups_receive_judgements_and_workers_end_with_actor() -> None:
    before = set(workers(psutil.Process()))
    judge = Judge(Config(judge=JudgeConfig(workers=2)), RestartBudget(1))
    groups = [
        group("40", ["\\boxed{40}", "\\boxed{41}", "It is 40."]),
        group("\\sqrt{8}", ["\\boxed{2\\sqrt{2}}", "\\boxed{\\sqrt{8}}", "\\boxed{2.83}"]),
    ]
    thinking = group("40", ["\\boxed{40}, or is it", "no.</think>\\boxed{40}"])
    thinking.prompt = replace(thinking.prompt, opening="<think>")
    judge.judge_groups([*groups, thinking], timeout_s=60)
    assert thinking.verdicts == [Verdict.UNPARSABLE, Verdict.CORRECT]
    assert groups[0].verdicts == [Verdict.CORRECT, Verdict.WRONG, Verdict.UNPARSABLE]
    assert groups[1].verdicts == [Verdict.CORRECT, Verdict.CORRECT, Verdict.WRONG]
    assert [judgement.score for judgement in groups[1].judgements] == [1.0, 1.0, 0.0]
    assert [judgement.extracted for judgement in groups[0].judgements] == ["40", "41", None]

    started = set(workers(psutil.Process())) - before
    assert len(started) == 2
    judge.close()
    wait_until(lambda: not started & set(workers(psutil.Process())))


@pytest.mark.usefixtures("ray_session")
def test_groups_are_judged_while_others_are_written() -> None:
    budget = RestartBudget(1)
    judge = Judge(Config(), budget)
    groups = [group("40", [f"\\boxed{{{40 + wrong}}}"]) for wrong in (0, 1, 0, 1)]
    for begun in groups[:3]:
        judge.begin(begun)
    judge.judge_groups(groups[1:], timeout_s=60)
    judge.judge_groups(groups[:1], timeout_s=60)
    assert [each.verdicts for each in groups] == 2 * [[Verdict.CORRECT], [Verdict.WRONG]]

    (actor,) = judge.processes().values()
    actor.kill()
    for each in groups:
        each.judgements = []
        judge.begin(each)  # calls of the dead actor, of which all but the last have failed
    judge.judge_groups(groups, timeout_s=60)
    assert [each.verdicts for each in groups] == 2 * [[Verdict.CORRECT], [Verdict.WRONG]] and budget.total == 1
    judge.close()


@pytest.mark.usefixtures("ray_session")
def test_dead_reward_actor_restarts_and_judges_everything_again() -> None:
    budget, groups = RestartBudget(1), [group("40", ["\\boxed{40}", "\\boxed{41}"])]
    judge = Judge(Config(), budget)
    judge.judge_groups(groups, timeout_s=60)
    (first,) = judge.processes().values()
    assert first in titled("RewardActor")(psutil.Process())
    for expected in (1, 1):
        if first.is_running():
            first.kill()
        groups[0].judgements = []
        judge.judge_groups(groups, timeout_s=60)
        assert groups[0].verdicts == [Verdict.CORRECT, Verdict.WRONG] and budget.total == expected
    judge.close()
