"""Tests of verifiers that a user names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.verify.judgement import Judgement, Verdict, plain_judgement
from tandem.verify.pool import VerifierPool, check_verifier

pytestmark = pytest.mark.seconds

TIMEOUT_S = 1.0

VERIFIERS = """
import os, time

def same_length(gold, response):
    return len(gold) == len(response)

def share(gold, response):
    return int(response) / int(gold)

def sleeps(gold, response):
    print("discarded")
    time.sleep(float(response))
    return True

def dies(gold, response):
    with open("deaths", "a") as deaths:
        deaths.write(response)
    if open("deaths").read().count(response) <= int(gold):
        os._exit(1)
    return True

class Nested:
    judge = staticmethod(share)

number = 7
"""


@pytest.fixture(scope="module")
def verifiers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Write the module `custom_verifiers`, which only workers can import."""
    folder = tmp_path_factory.mktemp("verifiers")
    (folder / "custom_verifiers.py").write_text(VERIFIERS)
    (folder / "broken_verifiers.py").write_text("raise OSError('no such license')")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


def graded_by(verifier: str, *items: tuple[str, str]) -> list[Judgement]:
    with VerifierPool(1, timeout_s=TIMEOUT_S, memory_gib=1.0, verifier=verifier) as pool:
        return pool.grade(items)


@pytest.mark.usefixtures("verifiers")
def test_custom_verifier_returns_verdicts_or_scores() -> None:
    one, other = graded_by("custom_verifiers:same_length", ("abc", "xyz"), ("abc", "\\boxed{abc}"))
    assert (one, other) == (plain_judgement(Verdict.CORRECT), plain_judgement(Verdict.WRONG))
    for name in ("share", "Nested.judge"):
        judgements = graded_by(f"custom_verifiers:{name}", ("4", "3"), ("4", "4"), ("4", "?"), ("4", "0"))
        assert [judgement.score for judgement in judgements] == [0.75, 1.0, 0.0, 0.0]
        assert [judgement.verdict.value for judgement in judgements] == ["wrong", "correct", "error", "wrong"]


@pytest.mark.usefixtures("verifiers")
def test_custom_verifier_has_same_deadline() -> None:
    slow, fast = graded_by("custom_verifiers:sleeps", ("", "1e6"), ("", "0"))
    assert (slow.verdict, fast.verdict) == (Verdict.TIMEOUT, Verdict.CORRECT)
    assert TIMEOUT_S <= slow.seconds < TIMEOUT_S + 3.0


@pytest.mark.usefixtures("verifiers")
def test_response_that_kills_two_workers_is_error() -> None:
    once, twice, never = graded_by("custom_verifiers:dies", ("1", "a"), ("9", "b"), ("0", "c"))
    assert [once.verdict, twice.verdict, never.verdict] == [Verdict.CORRECT, Verdict.ERROR, Verdict.CORRECT]
    assert Path("deaths").read_text() == "aabbc"


@pytest.mark.usefixtures("verifiers")
@pytest.mark.parametrize(
    ("verifier", "reason"),
    [
        ("custom_verifiers.share", "name a function as package.module:function"),
        ("no_such_module:share", "No module named 'no_such_module'"),
        ("custom_verifiers:none", "has no attribute 'none'"),
        ("custom_verifiers:number", "7 is not a function"),
        ("broken_verifiers:share", "OSError: no such license"),
    ],
)
def test_error_names_verifier_that_cannot_be_loaded(verifier: str, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"^data\.verifier={verifier}: .*{reason}"):
        check_verifier(verifier, memory_gib=1.0)
