"""Comparison of two answers, with algebra (latex2sympy and sympy) where needed.

Algebra on untrusted text may never end or use all memory, so it runs in a process that can be killed
(`tandem.verify.worker`).
"""

from __future__ import annotations

import re

from tandem.verify.algebra import same_expression
from tandem.verify.comparison import compare, is_region
from tandem.verify.guards import Unparsable
from tandem.verify.latex import read
from tandem.verify.opaque import has_function
from tandem.verify.plain import readings, settle
from tandem.verify.regions import same_region

_DECIMAL = re.compile(r"\.\d")


def judge(gold: str, answer: str) -> bool:
    """Return whether `answer` (LaTeX or plain text) is equivalent to `gold`.

    A gold in words is equal to answers with the same spelling. A hostile answer may take any time. Raises `Unparsable` when
    the answer is neither spelled like the gold nor readable by algebra.
    """
    is_equal = settle(gold, answer)
    if is_equal is not None:
        return is_equal
    return bool(compare(*readings(gold, answer), same_meaning))


def same_meaning(gold: str, answer: str, roughly: bool = False) -> bool:
    """Return whether two single expressions, equations or regions are equal.

    Raises `Unparsable` when the answer cannot be read.
    """
    try:
        return _same_reading(gold, answer, roughly)
    except (ArithmeticError, NotImplementedError, TypeError, ValueError) as error:
        # What sympy raises for that which has no value: an order of complex numbers, a floor of a matrix, lost precision.
        raise Unparsable(str(error)) from error


def _same_reading(gold: str, answer: str, roughly: bool) -> bool:
    """Return what `same_meaning` does. Raises also what sympy raises."""
    if is_region(gold) or is_region(answer):
        return same_region(gold, answer)
    functions = has_function(gold, answer)
    answer_expression = read(answer, functions)
    try:
        gold_expression = read(gold, functions)
    except Unparsable:
        return False
    decimals = bool(_DECIMAL.search(gold)), bool(_DECIMAL.search(answer))
    return same_expression(gold_expression, answer_expression, roughly, decimals)
