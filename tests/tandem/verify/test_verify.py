"""Tests of the worker pool, custom verifiers and the command line, with real workers."""

from __future__ import annotations

import json
import os
import subprocess
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
from tandem.verify.pool import VerifierPool, check_verifier
from tests.support import ROOT

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
    assert [items[i][1] for i in range(len(items)) if judgements[i].seconds > TIMEOUT_S + 1.0] == []
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
        while not all(map(is_gone, processes)):
            time.sleep(0.01)
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
    deadline = time.monotonic() + 30.0  # a worker that is still starting exits once it is ready
    while not all(map(is_gone, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("workers", "timeout_s", "memory_gib"), [(0, 1.0, 1.0), (1, 0.0, 1.0), (1, 1.0, -1.0)])
def test_limit_must_be_positive(workers: int, timeout_s: float, memory_gib: float) -> None:
    with pytest.raises(ValueError, match=r"judge\..*must be positive"):
        VerifierPool(workers, timeout_s, memory_gib)


def test_error_names_memory_limit_when_worker_cannot_start() -> None:
    with VerifierPool(1, 1.0, 0.01) as pool, pytest.raises(RuntimeError, match=r"judge\.memory_gib=0\.01"):
        pool.grade([SQUARE_ROOT])


# Custom verifiers

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
    assert TIMEOUT_S <= slow.seconds < TIMEOUT_S + 1.0


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


# The command line


def graded_lines(lines: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tandem.verify", "--jsonl", "-", "--workers", "1", *options]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, input=lines, capture_output=True, text=True, check=False, env=env)


def test_cli_needs_no_standard_error() -> None:
    command = f"{sys.executable} -m tandem.verify --jsonl - --workers 1 2>&-"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    line = json.dumps({"gold": "\\sqrt{8}", "response": "\\boxed{2\\sqrt{2}}"})
    judged = subprocess.run(["bash", "-c", command], input=line, stdout=subprocess.PIPE, text=True, check=True, env=env)
    assert json.loads(judged.stdout)["verdict"] == "correct"


def test_cli_prints_only_verdicts_in_order() -> None:
    cases = [
        ("\\sqrt{8}", "\\boxed{2\\sqrt{2}}", "correct", "2\\sqrt{2}"),
        (5, "\\boxed{6}", "wrong", "6"),
        ("5", "\\boxed{5}, no: \\boxed{", "unparsable", None),
        ("5", "\\boxed{5", "unparsable", None),
        ("5", "2 + 3 = 5", "unparsable", None),
        ("5", "\ud800 the answer is 5\x00", "unparsable", "5\x00"),
        ("5", boxed(ENDLESS), "timeout", ENDLESS),
        ("5", "<think>6</think>The answer is 5.", "correct", "5"),
    ]
    lines = "\n".join(json.dumps({"gold": gold, "response": response, "id": 1}) for gold, response, *_ in cases)
    result = graded_lines(lines + "\n", "--timeout-s", "2")
    assert result.returncode == 0
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"verdict": verdict, "extracted": extracted} for *_, verdict, extracted in cases
    ]


@pytest.mark.usefixtures("verifiers")
def test_cli_grades_with_custom_verifier() -> None:
    result = graded_lines('{"gold": 4, "response": "3"}', "--verifier", "custom_verifiers:share")
    assert json.loads(result.stdout) == {"verdict": "wrong", "extracted": None, "score": 0.75}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"gold": 5, "resp', "not JSON (Unterminated string"),
        ('{"gold": NaN, "response": "5"}', "not JSON (NaN is no number)"),
        ('{"gold": "\\ud800", "response": "5"}', "gold holds half a surrogate pair"),
        ('{"gold": " ", "response": "5"}', "gold is empty"),
        ('{"gold": [5], "response": "5"}', "gold is not text or a number but a list"),
        ('{"gold": 5, "response": 5}', "needs gold, a text or a number, and response, a text"),
        ("5", "not a JSON object but a number"),
        ('{"gold": "5"}', "needs gold, a text or a number, and response, a text"),
    ],
)
def test_cli_names_malformed_line(line: str, reason: str) -> None:
    result = graded_lines('{"gold": 5, "response": "5"}\n' + line)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"line 2: {reason}" in result.stderr


@pytest.mark.parametrize(
    ("name", "contents", "reason"),
    [
        ("absent", None, "absent: No such file or directory; name a file with one JSON object a line"),
        ("", None, ": Is a directory"),
        ("utf16", '{"gold": 5, "response": "5"}'.encode("utf-16"), "line 1: not UTF-8 (byte 0)"),
        ("latin1", '{"gold": 5, "response": "5"}\n{"gold": "é"}'.encode("latin-1"), "line 2: not UTF-8 (byte 10)"),
    ],
)
def test_cli_names_unreadable_file(name: str, contents: bytes | None, reason: str, tmp_path: Path) -> None:
    if contents is not None:
        (tmp_path / name).write_bytes(contents)
    result = graded_lines("", "--jsonl", str(tmp_path / name))
    assert (result.returncode, result.stdout) == (2, "")
    assert reason in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--workers", "0"), "judge.workers=0: must be positive and finite"),
        (("--timeout-s", "nan"), "judge.timeout_s=nan: must be positive and finite"),
        (("--memory-gib", "inf"), "judge.memory_gib=inf: must be positive and finite"),
        (("--memory-gib", "0.01"), "raise judge.memory_gib=0.01, which may be too small for it"),
        (("--answer-pattern", "("), "judge.answer_pattern='(' is not a regular expression"),
        (("--gold-pattern", "x"), "--gold-pattern='x' has no group"),
    ],
)
def test_cli_names_invalid_option(options: tuple[str, str], reason: str) -> None:
    result = graded_lines('{"gold": 5, "response": "5"}', *options)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("tandem.verify: ") and reason in line


def test_cli_reads_golds_as_in_data_set() -> None:
    golds = ["2+3.\n#### 5", "So \\boxed{5}.", 5.0, "5", "One sees " + "that it is odd " * 5, "6*7=42\n####"]
    result = graded_lines("\n".join(json.dumps({"gold": gold, "response": "\\boxed{5}"}) for gold in golds))
    verdicts = [json.loads(line)["verdict"] for line in result.stdout.splitlines()]
    assert verdicts[:4] == ["correct"] * 4 and "correct" not in verdicts[4:]
    assert result.stderr == "tandem.verify: golds in which no answer can be read: 2 (lines 5, 6)\n"
    result = graded_lines('{"gold": "6 [[5]] 7", "response": "\\\\boxed{5}"}', "--gold-pattern", r"\[\[(.*)\]\]")
    assert json.loads(result.stdout)["verdict"] == "correct"


def test_cli_stops_quietly_when_reader_closes_pipe() -> None:
    lines = json.dumps({"gold": "5", "response": "\\boxed{5}"}) + "\n"
    command = f"{sys.executable} -m tandem.verify --jsonl - --workers 1 | head -1"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, shell=True, input=lines * 5000, capture_output=True, text=True, check=False, env=env)
    assert json.loads(result.stdout)["verdict"] == "correct"
    assert result.stderr == ""
