"""Tests of the verifier's pool of workers."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.hostile_answers import hostile_responses
from tandem.verify.judgement import Judgement, Verdict, plain_judgement
from tandem.verify.pool import VerifierPool
from tests.support import ROOT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.seconds

TIMEOUT_S = 1.0
ENDLESS = "9^{9^9}"
"""A number of 369 million digits, which no worker can compute in time."""


def boxed(answer: str) -> str:
    return f"The answer is $\\boxed{{{answer}}}$."


SQUARE_ROOT = ("\\sqrt{8}", boxed("2\\sqrt{2}"))
"""A correct answer that needs algebra."""


@contextmanager
def pool_and_processes(workers: int) -> Iterator[tuple[VerifierPool, set[psutil.Process]]]:
    before = set(psutil.Process().children())
    with VerifierPool(workers, timeout_s=TIMEOUT_S, memory_gib=1.0) as pool:
        yield pool, set(psutil.Process().children()) - before


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def pool() -> Iterator[VerifierPool]:
    with VerifierPool(workers=2, timeout_s=TIMEOUT_S, memory_gib=1.0) as pool:
        yield pool


@pytest.fixture(scope="module")
def patient_pool() -> Iterator[VerifierPool]:
    """A pool whose deadline no busy machine misses."""
    with VerifierPool(workers=2, timeout_s=60.0, memory_gib=1.0) as pool:
        yield pool


def algebraic(number: int, right: bool) -> tuple[str, str, Judgement]:
    answer = f"{number}\\sqrt{{2}}" if right else f"{number + 1}\\sqrt{{2}}"
    return f"\\sqrt{{{2 * number**2}}}", boxed(answer), plain_judgement(Verdict.CORRECT if right else Verdict.WRONG, answer)


def numeric(number: int, right: bool) -> tuple[str, str, Judgement]:
    answer = f"{number}.0" if right else f"{number}.5"
    return str(number), boxed(answer), plain_judgement(Verdict.CORRECT if right else Verdict.WRONG, answer)


def unanswered(number: int, right: bool) -> tuple[str, str, Judgement]:
    return str(number), f"It is {number}.", plain_judgement(Verdict.UNPARSABLE, None)


kinds = st.sampled_from([algebraic, numeric, unanswered])
graded = st.builds(lambda kind, number, right: kind(number, right), kinds, st.integers(2, 99), st.booleans())


@settings(max_examples=20, deadline=None)
@given(items=st.lists(graded, max_size=12))
def test_judgements_keep_order_of_responses(patient_pool: VerifierPool, items: list[tuple[str, str, Judgement]]) -> None:
    assert patient_pool.grade([(gold, response) for gold, response, _ in items]) == [judgement for _, _, judgement in items]


def test_each_response_gets_its_verdict_in_order(pool: VerifierPool) -> None:
    cases = [
        ("9", ENDLESS, Verdict.TIMEOUT),
        ("\\sqrt{8}", "2\\sqrt{2}", Verdict.CORRECT),
        ("\\sqrt{8}", "3\\sqrt{2}", Verdict.WRONG),
        ("9", "\\Gamma(999999999)", Verdict.TIMEOUT),
        ("9", "\\frac{", Verdict.UNPARSABLE),
        ("9", "9", Verdict.CORRECT),
        ("9", "?!?", Verdict.UNPARSABLE),
        ("\\sqrt{18}", "3\\sqrt{2}", Verdict.CORRECT),
    ]
    judgements = pool.grade([(gold, boxed(answer)) for gold, answer, _ in cases])
    assert [(j.extracted, j.verdict) for j in judgements if j.extracted] == [
        (answer, verdict) for _, answer, verdict in cases if answer != "\\frac{"
    ]
    assert judgements[4] == plain_judgement(Verdict.UNPARSABLE, None)


@pytest.mark.timeout(120)
def test_hostile_answers_are_judged_in_time_without_side_effects(pool: VerifierPool, tmp_path: Path) -> None:
    hostile = hostile_responses(tmp_path)
    different = len(set(hostile))
    assert different == len(hostile) == 200
    between = [(f"\\sqrt{{{2 * number**2}}}", boxed(f"{number}\\sqrt{{2}}")) for number in range(2, 52)]
    items = [("5", response) for response in hostile]
    for place, benign in enumerate(between):
        items.insert(5 * place, benign)
    judgements = pool.grade(items)
    assert [items[i][1] for i in range(len(items)) if judgements[i].seconds > TIMEOUT_S + 3.0] == []
    assert {judgements[5 * place].verdict for place in range(len(between))} == {Verdict.CORRECT}
    assert not list(tmp_path.iterdir())
    assert {Verdict.TIMEOUT, Verdict.UNPARSABLE, Verdict.WRONG} <= {judgement.verdict for judgement in judgements}


def test_endless_pattern_times_out() -> None:
    with VerifierPool(1, TIMEOUT_S, 1.0, answer_pattern=r"(?:(?:a+)+)b(.)") as pool:
        slow, fast = pool.grade([("5", "a" * 5000), ("5", "ab5")])
    assert (slow, fast) == (plain_judgement(Verdict.TIMEOUT), plain_judgement(Verdict.CORRECT, "5"))


def test_boxes_alone_are_judged_as_without_pattern() -> None:
    items = [("5", boxed("5")), ("5", "The answer is 5"), ("\\sqrt{8}", boxed("2\\sqrt{2}")), ("5", boxed("6"))]
    with VerifierPool(1, 30.0, 1.0, answer_pattern="boxed") as pool:
        verdicts = [judgement.verdict for judgement in pool.grade(items)]
    assert verdicts == [Verdict.CORRECT, Verdict.UNPARSABLE, Verdict.CORRECT, Verdict.WRONG]


def test_response_of_killed_worker_is_judged_again() -> None:
    with pool_and_processes(workers=1) as (pool, processes):
        pool.grade([SQUARE_ROOT])
        killer = threading.Timer(TIMEOUT_S / 2, next(iter(processes)).kill)
        killer.start()
        judgements = pool.grade([("9", boxed(ENDLESS)), SQUARE_ROOT])
        killer.join()
    assert [judgement.verdict for judgement in judgements] == [Verdict.TIMEOUT, Verdict.CORRECT]


@pytest.mark.parametrize("answers_before", [0, 2], ids=["starting", "idle"])
def test_worker_killed_without_task_changes_no_verdict(answers_before: int) -> None:
    with pool_and_processes(workers=2) as (pool, processes):
        pool.grade([SQUARE_ROOT] * answers_before)
        for process in processes:
            process.kill()
        wait_until(lambda: all(map(is_gone, processes)))
        assert {judgement.verdict for judgement in pool.grade([SQUARE_ROOT] * 4)} == {Verdict.CORRECT}


def test_close_ends_all_processes() -> None:
    with pool_and_processes(workers=2) as (pool, processes):
        assert len(processes) == 2
        pool.grade([SQUARE_ROOT])
    pool.close()
    assert not any(process.is_running() for process in processes)


def test_busy_workers_end_after_their_parent() -> None:
    endless_work = f"VerifierPool(2, 2.0, 1.0).grade([('9', r'{boxed(ENDLESS)}')] * 9)"
    script = f"from tandem.verify.pool import VerifierPool; {endless_work}"
    owner = psutil.Popen([sys.executable, "-c", script], cwd=ROOT)
    while len(workers := owner.children()) < 2:
        assert owner.poll() is None
        time.sleep(0.05)
    time.sleep(1.0)
    owner.kill()
    owner.wait()
    # A worker that is still starting exits once it is ready.
    wait_until(lambda: all(map(is_gone, workers)), timeout_s=30)


@pytest.mark.parametrize(("workers", "timeout_s", "memory_gib"), [(0, 1.0, 1.0), (1, 0.0, 1.0), (1, 1.0, -1.0)])
def test_limit_must_be_positive(workers: int, timeout_s: float, memory_gib: float) -> None:
    with pytest.raises(ValueError, match=r"judge\..*must be positive"):
        VerifierPool(workers, timeout_s, memory_gib)


def test_error_names_memory_limit_when_worker_cannot_start() -> None:
    with VerifierPool(1, 1.0, 0.01) as pool, pytest.raises(RuntimeError, match=r"judge\.memory_gib=0\.01"):
        pool.grade([SQUARE_ROOT])
