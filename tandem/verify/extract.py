r"""Where a text states its final answer.

Only an explicit mark counts, and no number is guessed from text that marks none. Without a pattern of the task's own the marks
are, in this order:

1. the last `\boxed{...}` or `\fbox{...}`; where that is empty or never closed, the text states no answer;
2. the last of `####` at the head of a line and "the answer is" (or "the final answer is", or any one word more), up to the end
   of the line or the sentence, or what stands in display mathematics right behind it.

What a model thinks, between `<think>` and `</think>`, is not part of the text. Every search is linear in its length.
"""

from __future__ import annotations

import re
from collections import deque

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
"""A brace that groups, or an escape to step over: `\\{` is a printed brace and groups nothing."""
_STATEMENT = re.compile(
    r"^[ \t]{0,3}\#\#\#\#(?!\#)[ \t]*"  # GSM8K's
    r"|\bthe\s{1,9}(?:[a-z]{1,20}\s{1,9})?answer\s{1,9}is\b(?!\s{1,9}not\b)[ \t]{0,9}:?\s*",
    re.IGNORECASE | re.MULTILINE | re.ASCII,
)
_DISPLAY = {"$$": "$$", "\\[": "\\]"}
_END = re.compile(r"\n|\.(?=[\s*\"]|\Z)|[!?](?=[ \t*\"]{0,9}(?:\n|\Z))")
"""Where a statement ends: with its line, or with its sentence. The point in 3.5 ends none, nor does the factorial in 5! + 1."""
_EMPHASIS = ' \t\r\n*_"'
_THINK = re.compile(r"<think>|</think>")


def compile_pattern(answer_pattern: str) -> re.Pattern[str] | None:
    """A task's `judge.answer_pattern`, compiled; None when it is empty, which means the marks above.

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

    With a `pattern` it is the first group of the pattern's last match, otherwise what stands at the mark that counts. Where
    that is empty the text states no answer: an earlier mark does not stand in for it.
    """
    text = without_thinking(text)
    if pattern is not None:
        match = _last_match(pattern, text)
        answer = match.group(1) if match else None
    elif box := _last_match(_BOX, text):
        answer = _in_braces(text, box.end())
    elif statement := _last_match(_STATEMENT, text):
        answer = _stated(text, statement.end())
    else:
        answer = None
    return (answer or "").strip() or None


def without_thinking(text: str) -> str:
    """`text` without what stands between `<think>` and `</think>`.

    Behind a `<think>` that is never closed there is only thinking. In front of a `</think>` that was never opened there is only
    thinking too: a chat template may have opened it in the prompt.
    """
    said: list[str] = []
    start, thinking = 0, False
    for tag in _THINK.finditer(text):
        closes = tag.group() == "</think>"
        if closes and not thinking:
            said.clear()
        elif not closes and not thinking:
            said.append(text[start : tag.start()])
        start, thinking = tag.end(), not closes
    if not thinking:
        said.append(text[start:])
    return "\n".join(said)


def _last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    matches = deque(pattern.finditer(text), maxlen=1)
    return matches[0] if matches else None


def _in_braces(text: str, start: int) -> str | None:
    """What stands between a brace that opened just before `start` and the one that closes it."""
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return text[start : brace.start()]
    return None


def _stated(text: str, start: int) -> str | None:
    """What a statement that begins at `start` says, without emphasis and the punctuation behind it."""
    if closing := _DISPLAY.get(text[start : start + 2]):
        stop = text.find(closing, start + 2)
        return text[start + 2 : stop] if stop >= 0 else None
    end = _END.search(text, start)
    return text[start : end.start() if end else len(text)].lstrip(_EMPHASIS).rstrip(_EMPHASIS + ".,;:")
