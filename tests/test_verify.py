"""Extraction, equivalence and the worker pool, through real workers."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import psutil
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tandem.verify.equivalence import judge
from tandem.verify.extract import compile_pattern, final_answer
from tandem.verify.judgement import Judgement, Verdict, plain_judgement
from tandem.verify.plain import Unparsable, settle
from tandem.verify.pool import VerifierPool, check_verifier

TIMEOUT_S = 1.0
ENDLESS = "9^{9^9}"
"""369 million digits: no worker ever comes to an end with it."""
ROOT = Path(__file__).parents[1]


def boxed(answer: str) -> str:
    return f"The answer is $\\boxed{{{answer}}}$."


SQUARE_ROOT = ("\\sqrt{8}", boxed("2\\sqrt{2}"))
"""A right answer that takes algebra."""


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


# Extraction

unboxed = st.text(alphabet="ab1 +^_{}$\\\n", max_size=20)
content = st.recursive(
    st.one_of(st.text(alphabet="xy12 +^_,.", max_size=6), st.sampled_from(["\\{", "\\}", "\\\\", "\\pi "])),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        inner.map(lambda text: f"{{{text}}}"),
        st.tuples(inner, inner).map(lambda pair: f"\\frac{{{pair[0]}}}{{{pair[1]}}}"),
    ),
    max_leaves=12,
)


@given(before=st.lists(st.one_of(unboxed, content.map(boxed), st.just("\\boxed{")), max_size=3), content=content, after=unboxed)
def test_the_answer_is_the_last_box_with_its_braces_balanced(before: list[str], content: str, after: str) -> None:
    assert final_answer("".join(before) + f"\\boxed{{{content}}}" + after) == (content.strip() or None)


@given(before=unboxed, content=content)
def test_an_unclosed_last_box_states_no_answer(before: str, content: str) -> None:
    assert final_answer(before + boxed("7") + "\\boxed{" + content) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It is 42.",
        "The answer is not 42.",
        "The answer is",
        "#### ",
        "\\boxed{}",
        "\\boxed{ \n}",
        "\\boxed{42",
        "\\boxed",
        "\\boxed42",
    ],
)
def test_no_answer_is_guessed(text: str) -> None:
    assert final_answer(text) is None


def test_a_task_may_name_its_own_pattern() -> None:
    pattern = compile_pattern(r"####\s*(\S*)")
    assert final_answer("#### 3\nno, \\boxed{4}: #### 5 \n", pattern) == "5"
    assert final_answer("#### 3\nno: ####", pattern) is None
    assert final_answer(boxed("4"), pattern) is None


@pytest.mark.parametrize("pattern", ["(", "answer: .*"])
def test_an_unusable_pattern_is_named(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"judge\.answer_pattern"):
        VerifierPool(1, 1.0, 1.0, pattern)


@pytest.mark.parametrize("piece", ["\\boxed{", "\\boxed", "{", "}", "\\", "\\boxed{}", "\\boxed ", " ", "\x00"])
def test_extraction_is_linear(piece: str) -> None:
    start = time.monotonic()
    final_answer("\\boxed{" + piece * (1_000_000 // len(piece)))
    assert time.monotonic() - start < 2.0


# Equivalence

cents = st.integers(-(10**9), 10**9)
fractions = st.builds(Fraction, st.integers(-(10**6), 10**6), st.integers(1, 10**4))


@st.composite
def written_cents(draw: st.DrawFn, number: int) -> str:
    """One of the ways to write `number` hundredths."""
    sign, (whole, rest) = "-" if number < 0 else draw(st.sampled_from(["", "+"])), divmod(abs(number), 100)
    decimal, grouped = f"{whole}.{rest:02d}", f"{whole:,}.{rest:02d}"
    ways = [decimal, decimal + "0", grouped, grouped.replace(",", "{,}"), grouped.replace(",", "\\,")]
    ways += [form.format(abs(number)) for form in ("\\frac{{{}}}{{100}}", "{}/100", "{}e-2", "{}\\times 10^{{-2}}")]
    ways += [f"{whole}", f"{whole}.", f"{whole:,}"] if rest == 0 else []
    ways += [decimal.lstrip("0")] if whole == 0 else []
    return draw(st.sampled_from(["{}", " {} ", "${}$"])).format(sign + draw(st.sampled_from(ways)))


@st.composite
def written_fraction(draw: st.DrawFn, number: Fraction) -> str:
    """One of the ways to write `number` as a fraction, reduced or not."""
    scale = draw(st.integers(1, 50))
    top, bottom = abs(number.numerator) * scale, number.denominator * scale
    forms = ["{}/{}", "{} / {}", "\\frac{{{}}}{{{}}}", "\\dfrac{{{}}}{{{}}}", "\\tfrac{{{}}} {{{}}}"]
    return ("-" if number < 0 else "") + draw(st.sampled_from(forms)).format(top, bottom)


@given(st.data(), cents)
def test_a_number_equals_itself_however_written(data: st.DataObject, number: int) -> None:
    assert settle(data.draw(written_cents(number)), data.draw(written_cents(number))) is True


@given(st.data(), cents, cents)
def test_different_numbers_differ_however_written(data: st.DataObject, one: int, other: int) -> None:
    assume(one != other)
    assert settle(data.draw(written_cents(one)), data.draw(written_cents(other))) is False


@given(st.data(), fractions, fractions)
def test_fractions_are_equal_exactly(data: st.DataObject, one: Fraction, other: Fraction) -> None:
    assert settle(data.draw(written_fraction(one)), data.draw(written_fraction(one))) is True
    assert settle(data.draw(written_fraction(one)), data.draw(written_fraction(other))) is (one == other)


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        ("1/3", "0.333333", True),
        ("1/3", "0.33333", False),
        ("0.3333333", "\\frac{1}{3}", True),
        ("1000000", "1000000.5", False),
        ("50\\%", "0.5", True),
        ("50", "50\\%", True),
        ("0.5\\%", "50\\%", False),
        ("\\sqrt{8}", "2\\sqrt{2}", True),
        ("\\sqrt{8}", "2.828427", True),
        ("\\sqrt{8}", "2.83", False),
        ("x^2+2x+1", "(x+1)^2", True),
        ("x^2+2x+1", "(x+2)^2", False),
        ("-\\frac12", "-0.5", True),
        ("\\{1,2\\}", "\\left\\{2, 1\\right\\}", True),
        ("[0,1)", "[0,1]", False),
        ("5", "x=5", True),
        ("5", "\\frac{1}{0}", False),
        ("not a number", "not  a number", True),
        ("not a number", "5", False),
    ],
)
def test_answers_are_judged_by_what_they_mean(gold: str, answer: str, equal: bool) -> None:
    assert judge(gold, answer) is equal


@pytest.mark.parametrize("answer", ["??", "\\frac{", "\x00", "\ud800", "%s%n{0}", "9^{9^{9^{9}}}", "x^{100000}", "1" * 1001])
def test_an_answer_that_cannot_be_read_is_said_to_be_so(answer: str) -> None:
    with pytest.raises(Unparsable):
        judge("5", answer)


def test_a_long_answer_equals_itself() -> None:
    assert judge("1" * 5000, "1" * 5000)
    assert not judge("1" * 5000, "1")


def test_a_worker_imports_neither_torch_nor_numpy() -> None:
    imported = "import sys, tandem.verify.worker, tandem.verify.equivalence; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "sympy" in done.stdout.split()
    assert not {"torch", "numpy", "ray"} & set(done.stdout.split())


# The pool


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
def test_judgements_come_in_the_order_of_the_responses(pool: VerifierPool, items: list[tuple[str, str, Judgement]]) -> None:
    assert pool.grade([(gold, response) for gold, response, _ in items]) == [judgement for _, _, judgement in items]


def test_verdicts_are_told_apart_and_keep_their_order(pool: VerifierPool) -> None:
    cases = [
        ("9", ENDLESS, Verdict.TIMEOUT),
        ("\\sqrt{8}", "2\\sqrt{2}", Verdict.CORRECT),
        ("\\sqrt{8}", "3\\sqrt{2}", Verdict.WRONG),
        ("9", "((((9!)!)!)!)!", Verdict.TIMEOUT),
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


HOSTILE = {
    "tower": "9^{9^{9^{9}}}",
    "long number": "9" * 1_000_000,
    "long text": "x+" * 500_000,
    "deep braces": "{" * 10_000 + "1" + "}" * 10_000,
    "deep brackets": "(" * 400 + "1" + ")" * 400,
    "deep fractions": "\\frac{1}{" * 90 + "2" + "}" * 90,
    "nul": "5\x00",
    "code": "__import__('os').system('touch {canary}')",
    "attributes": "().__class__.__base__.__subclasses__()",
    "format": "%s%s%n{{0}}",
    "surrogate": "\ud800\udfff",
    "huge exponent": "10^{10^{10}}",
    "dollars": "$[ " * 300,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_gets_its_verdict_in_time_and_does_nothing_else(name: str, pool: VerifierPool, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    answer = HOSTILE[name].replace("{canary}", str(canary))
    start = time.monotonic()
    [judgement] = pool.grade([("5", boxed(answer))])
    assert time.monotonic() - start < TIMEOUT_S + 1.0
    assert judgement.verdict is not Verdict.CORRECT
    assert not canary.exists()
    assert pool.grade([SQUARE_ROOT])[0].verdict is Verdict.CORRECT


def test_a_worker_killed_while_judging_costs_that_answer_only() -> None:
    with pool_and_processes(workers=1) as (pool, processes):
        pool.grade([SQUARE_ROOT])
        killer = threading.Timer(TIMEOUT_S / 2, lambda: [process.kill() for process in processes])
        killer.start()
        judgements = pool.grade([("9", boxed(ENDLESS)), SQUARE_ROOT])
        killer.join()
    assert [judgement.verdict for judgement in judgements] == [Verdict.ERROR, Verdict.CORRECT]


@pytest.mark.parametrize("answers_before", [0, 2], ids=["starting", "idle"])
def test_workers_killed_before_they_have_an_answer_to_judge_cost_nothing(answers_before: int) -> None:
    with pool_and_processes(workers=2) as (pool, processes):
        pool.grade([SQUARE_ROOT] * answers_before)
        for process in processes:
            process.kill()
        while not all(map(is_gone, processes)):
            time.sleep(0.01)
        assert {judgement.verdict for judgement in pool.grade([SQUARE_ROOT] * 4)} == {Verdict.CORRECT}


def test_close_leaves_no_process() -> None:
    with pool_and_processes(workers=2) as (pool, processes):
        assert len(processes) == 2
        pool.grade([SQUARE_ROOT])
    pool.close()
    assert not any(process.is_running() for process in processes)


def test_workers_end_with_their_owner_even_in_the_middle_of_an_answer() -> None:
    endless_work = f"VerifierPool(2, 2.0, 1.0).grade([('9', r'{boxed(ENDLESS)}')] * 9)"
    script = f"from tandem.verify.pool import VerifierPool; {endless_work}"
    owner = psutil.Popen([sys.executable, "-c", script], cwd=ROOT)
    while len(workers := owner.children()) < 2:
        assert owner.poll() is None
        time.sleep(0.05)
    time.sleep(1.0)
    owner.kill()
    owner.wait()
    give_up = time.monotonic() + 5.0
    while not all(map(is_gone, workers)):
        assert time.monotonic() < give_up
        time.sleep(0.05)


@pytest.mark.parametrize(("workers", "timeout_s", "memory_gib"), [(0, 1.0, 1.0), (1, 0.0, 1.0), (1, 1.0, -1.0)])
def test_a_limit_that_is_not_positive_is_refused(workers: int, timeout_s: float, memory_gib: float) -> None:
    with pytest.raises(ValueError, match=r"judge\..*must be positive"):
        VerifierPool(workers, timeout_s, memory_gib)


def test_a_worker_that_cannot_start_is_reported() -> None:
    with VerifierPool(1, 1.0, 0.01) as pool, pytest.raises(RuntimeError, match=r"judge\.memory_gib=0\.01"):
        pool.grade([SQUARE_ROOT])


# Verifiers of the user's own

VERIFIERS = """
import os, time

def same_length(gold, response):
    return len(gold) == len(response)

def share(gold, response):
    return int(response) / int(gold)

def sleeps(gold, response):
    print("to nobody")
    time.sleep(float(response))
    return True

class Nested:
    judge = staticmethod(share)

number = 7
"""


@pytest.fixture(scope="module")
def verifiers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A module `own_verifiers` that only workers can import."""
    folder = tmp_path_factory.mktemp("verifiers")
    (folder / "own_verifiers.py").write_text(VERIFIERS)
    (folder / "broken_verifiers.py").write_text("raise OSError('no such licence')")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


def graded_by(verifier: str, *items: tuple[str, str]) -> list[Judgement]:
    with VerifierPool(1, timeout_s=TIMEOUT_S, memory_gib=1.0, verifier=verifier) as pool:
        return pool.grade(items)


@pytest.mark.usefixtures("verifiers")
def test_a_verifier_of_the_users_own_gives_verdicts_or_degrees() -> None:
    one, other = graded_by("own_verifiers:same_length", ("abc", "xyz"), ("abc", "\\boxed{abc}"))
    assert (one, other) == (plain_judgement(Verdict.CORRECT), plain_judgement(Verdict.WRONG))
    for name in ("share", "Nested.judge"):
        degrees = graded_by(f"own_verifiers:{name}", ("4", "3"), ("4", "4"), ("4", "?"), ("4", "0"))
        assert [judgement.score for judgement in degrees] == [0.75, 1.0, 0.0, 0.0]
        assert [judgement.verdict.value for judgement in degrees] == ["wrong", "correct", "error", "wrong"]


@pytest.mark.usefixtures("verifiers")
def test_a_verifier_of_the_users_own_has_the_same_deadline() -> None:
    late, soon = graded_by("own_verifiers:sleeps", ("", "1e6"), ("", "0"))
    assert (late.verdict, soon.verdict) == (Verdict.TIMEOUT, Verdict.CORRECT)
    assert TIMEOUT_S <= late.seconds < TIMEOUT_S + 1.0


@pytest.mark.usefixtures("verifiers")
@pytest.mark.parametrize(
    ("verifier", "reason"),
    [
        ("own_verifiers.share", "name a function as package.module:function"),
        ("no_such_module:share", "No module named 'no_such_module'"),
        ("own_verifiers:none", "has no attribute 'none'"),
        ("own_verifiers:number", "7 is not a function"),
        ("broken_verifiers:share", "OSError: no such licence"),
    ],
)
def test_a_verifier_that_cannot_be_loaded_is_named(verifier: str, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"^data\.verifier={verifier}: .*{reason}"):
        check_verifier(verifier, memory_gib=1.0)
