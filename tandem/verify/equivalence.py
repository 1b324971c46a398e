"""Whether two answers mean the same, by algebra where it takes algebra (latex2sympy and sympy).

Algebra on untrusted text may run for ever or eat all memory. So it runs in a process that can be killed:
`tandem.verify.worker`.
"""

from __future__ import annotations

from tandem.verify.algebra import read, same_expression
from tandem.verify.comparison import compare, is_region
from tandem.verify.guards import Unparsable
from tandem.verify.plain import reading, settle
from tandem.verify.regions import same_region


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
    return same_expression(wanted, stated, roughly)
