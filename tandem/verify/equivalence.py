"""Whether two answers mean the same, by algebra where it takes algebra (math-verify, on sympy).

Algebra on untrusted text may run for ever or eat all memory, and math-verify's own time limit is a signal handler that a long
multiplication ignores. So it runs without one, in a process that can be killed: `tandem.verify.worker`.
"""

from __future__ import annotations

from typing import Any

from math_verify import LatexExtractionConfig, parse, verify

from tandem.verify.plain import Unparsable, settle

_LATEX = [LatexExtractionConfig(boxed_match_priority=0)]


def judge(gold: str, answer: str) -> bool:
    """Whether `answer` (LaTeX or plain) means the same as `gold`.

    A gold that only words can say is equal to answers spelled like it. May take arbitrarily long on a hostile answer. Raises
    `Unparsable` when the answer is neither spelled like the gold nor anything that algebra can read.
    """
    settled = settle(gold, answer)
    if settled is not None:
        return settled
    answers = _parse(answer)
    if not answers:
        raise Unparsable(f"not a mathematical expression: {answer!r}")
    return bool(verify(_parse(gold), answers, timeout_seconds=None))


def _parse(answer: str) -> list[Any]:
    """What sympy makes of the whole of `answer`; empty if it cannot read it."""
    # The box marks the whole text as the answer. Without it math-verify would look for some number inside the text.
    return list(parse(f"\\boxed{{{answer}}}", _LATEX, fallback_mode="no_fallback", parsing_timeout=None))
