"""Whether two answers mean the same, by algebra where it takes algebra (math-verify, on sympy).

Algebra on untrusted text may run for ever or eat all memory, and math-verify's own time limit is a signal handler that a long
multiplication ignores. So it runs without one, in a process that can be killed: `tandem.verify.worker`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from math_verify import LatexExtractionConfig, parse, verify
from sympy import Expr, Float, Interval, MatrixBase, Tuple

from tandem.verify.numbers import TOLERANCE
from tandem.verify.plain import Unparsable, reading, settle

_LATEX = [LatexExtractionConfig(boxed_match_priority=0)]
_PLAIN_FUNCTION = re.compile(r"(?<![\\A-Za-z])(sqrt|sin|cos|tan|log|ln|exp|pi)(?![A-Za-z])")
_PLAIN_ROOT = re.compile(r"\\sqrt\s?\(([^()]*)\)")
_DIGITS = 15
"""Decimals are compared with so many digits of the exact value."""


def judge(gold: str, answer: str) -> bool:
    """Whether `answer` (LaTeX or plain) means the same as `gold`.

    A gold that only words can say is equal to answers spelled like it. May take arbitrarily long on a hostile answer. Raises
    `Unparsable` when the answer is neither spelled like the gold nor anything that algebra can read.
    """
    settled = settle(gold, answer)
    if settled is not None:
        return settled
    answers = _parse(reading(answer))
    if not answers:
        raise Unparsable(f"not a mathematical expression: {answer!r}")
    return any(_equal(one, other) for one in _parse(reading(gold)) for other in answers)


@lru_cache(maxsize=4096)
def _parse(answer: str) -> tuple[Any, ...]:
    """What sympy makes of the whole of `answer`; empty if it cannot read it."""
    answer = _PLAIN_ROOT.sub(r"\\sqrt{\1}", _PLAIN_FUNCTION.sub(r"\\\1", answer.replace("**", "^")))
    # The box marks the whole text as the answer. Without it math-verify would look for some number inside the text.
    return tuple(parse(f"\\boxed{{{answer}}}", _LATEX, fallback_mode="no_fallback", parsing_timeout=None))


def _equal(gold: Any, answer: Any) -> bool:
    """math-verify's comparison, except that it rounds decimals at the sixth digit and here it is a relative tolerance."""
    if isinstance(gold, Tuple) and isinstance(answer, Tuple) and len(gold) == len(answer):
        return all(map(_equal, gold, answer))
    if isinstance(gold, MatrixBase) and isinstance(answer, MatrixBase) and gold.shape == answer.shape:
        return all(map(_equal, gold.flat(), answer.flat()))
    if isinstance(gold, Interval) and isinstance(answer, Interval):
        same_kind = (gold.left_open, gold.right_open) == (answer.left_open, answer.right_open)
        return bool(same_kind) and _equal(gold.start, answer.start) and _equal(gold.end, answer.end)
    if _is_number(gold) and _is_number(answer) and (gold.has(Float) or answer.has(Float)):
        exact, approximate = gold.evalf(_DIGITS), answer.evalf(_DIGITS)
        return bool(abs(exact - approximate) <= float(TOLERANCE) * abs(exact))
    return bool(verify(gold, answer, timeout_seconds=None))


def _is_number(expression: Any) -> bool:
    return isinstance(expression, Expr) and bool(expression.is_number)
