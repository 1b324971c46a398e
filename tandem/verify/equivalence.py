"""Whether two answers mean the same, by algebra where it takes algebra (latex2sympy and sympy).

Algebra on untrusted text may run for ever or eat all memory. So it runs in a process that can be killed:
`tandem.verify.worker`.
"""

from __future__ import annotations

import re

from sympy import Expr

from tandem.verify.algebra import read, same_expression
from tandem.verify.comparison import compare, is_region
from tandem.verify.guards import Unparsable
from tandem.verify.plain import reading, settle
from tandem.verify.regions import same_region

_LETTERS = re.compile(r"\\[A-Za-z]+|[A-Za-z]")


def judge(gold: str, answer: str) -> bool:
    """Return whether `answer` (LaTeX or plain) means the same as `gold`.

    A gold that only words can say is equal to answers spelled like it. May take arbitrarily long on a hostile answer. Raises
    `Unparsable` when the answer is neither spelled like the gold nor anything that algebra can read.
    """
    settled = settle(gold, answer)
    if settled is not None:
        return settled
    return bool(compare(reading(gold), reading(answer), same_meaning))


def same_meaning(gold: str, answer: str, roughly: bool = False) -> bool:
    """Return whether two single expressions, equations or regions are equal.

    Raises `Unparsable` when the answer cannot be read.
    """
    if is_region(gold) or is_region(answer):
        return same_region(gold, answer)
    stated = read(answer)
    try:
        wanted = read(gold)
    except Unparsable:
        return False
    if same_expression(wanted, stated, roughly):
        return True
    # Capitals do not count where neither text tells letters apart by them.
    if any(map(_tells_capitals_apart, (gold, answer))) or not isinstance(wanted, Expr):
        return False
    lower = _lower(gold), _lower(answer)
    return lower != (gold, answer) and same_expression(*map(read, lower))


def _tells_capitals_apart(text: str) -> bool:
    letters = {letter for letter in _LETTERS.findall(text) if len(letter) == 1}
    return bool(letters & {letter.swapcase() for letter in letters})


def _lower(text: str) -> str:
    return _LETTERS.sub(lambda letter: letter[0].lower() if len(letter[0]) == 1 and letter[0] not in "EI" else letter[0], text)
