"""Where a text states its final answer.

Only an explicit mark counts: the last `\\boxed{...}`, or what the task's own pattern finds. No number is guessed from text that
marks none. Every search is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections import deque

_BOX = re.compile(r"\\boxed\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
"""A brace that groups, or an escape to step over: `\\{` is a printed brace and groups nothing."""


def compile_pattern(answer_pattern: str) -> re.Pattern[str] | None:
    """A task's `judge.answer_pattern`, compiled; None when it is empty, which means the last box.

    Raises `ValueError` when it is not a regular expression or has no group to hold the answer.
    """
    if not answer_pattern:
        return None
    try:
        pattern = re.compile(answer_pattern)
    except re.error as error:
        raise ValueError(f"judge.answer_pattern={answer_pattern!r} is not a regular expression: {error}") from error
    if not pattern.groups:
        raise ValueError(f"judge.answer_pattern={answer_pattern!r} has no group: put parentheses around the answer")
    return pattern


def final_answer(text: str, pattern: re.Pattern[str] | None = None) -> str | None:
    """The final answer that `text` states, stripped, or None if it states none.

    With a `pattern` it is the first group of the pattern's last match, otherwise the content of the last box. Where that is
    empty, or the box never closed, the text states no answer: an earlier box does not stand in for the last.
    """
    if pattern is None:
        answer = _last_box(text)
    else:
        match = _last_match(pattern, text)
        answer = match.group(1) if match else None
    return (answer or "").strip() or None


def _last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    matches = deque(pattern.finditer(text), maxlen=1)
    return matches[0] if matches else None


def _last_box(text: str) -> str | None:
    box = _last_match(_BOX, text)
    if box is None:
        return None
    depth = 1
    for brace in _BRACE.finditer(text, box.end()):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return text[box.end() : brace.start()]
    return None
