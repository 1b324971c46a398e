r"""Final answers that a text states in words: "The answer is 5", `**Final Answer:** 5`, `#### 5`, `<answer>5</answer>`.

A statement begins at a mark (`tandem.verify.marks`) and ends with its line, its sentence or its display mathematics. Remarks
(`tandem.verify.remarks`) and formatting are removed.

This runs on untrusted text: at most `_MAX_STATEMENTS` statements are read, and at most `_MAX_CHARS` characters of each.
"""

from __future__ import annotations

import json
import re
from itertools import islice

from tandem.verify.marks import Form, Mark, marks
from tandem.verify.remarks import INTRODUCTION, holds_value, is_remark, without_reason, without_sentence

_MAX_CHARS = 2000
"""Longer statements are cut off: no real answer is that long."""
_MAX_STATEMENTS = 50
"""Statements, counted from the last, that are read."""
_STOP = re.compile(
    r"\$\$|\\\[|\\begin\{[a-z]{1,20}\*?\}|(?:\\(?!begin\{)[^\[])+|[{}]"
    r"|\n|[。！]|(?<=[\d)$}])\.(?=[A-Z][a-z])"
    r"|(?<![AaPp]\.[Mm])\.(?=\$?[\s*\")]|\$?\Z)|[!?]{1,9}(?=[ \t*\"]{0,9}(?:\n|\Z))|</\w|<br|<\|",
)
"""Where a statement may end, and what to skip. The point in 3.5 and the factorial in 5! + 1 end no statement."""
_DISPLAY = {"$$": "$$", "\\[": "\\]"}
_BOLD = re.compile(r"(?<![\w)\]}*])\*\*([^*\n]+)\*\*(?![\w*])")
_QUOTES = " \t\r\n*_`\"'“‘"
_ORNAMENTS = " \t\r\n*_`\"'“”.,;:✅✓✔☑🎉■□∎\ufe0f" + "".join(map(chr, range(0x1F300, 0x1FB00)))
_TIME = re.compile(r"[ap]\.m\Z", re.IGNORECASE)
_CLOSING_TAG = re.compile(r"</(?:final_)?(?:answer|ANSWER|Answer)>")
_STRUCK = re.compile(r"~~[^~\n]*~~[ \t]?")
_SINGLE_BACKSLASH = re.compile(r"(?<!\\)\\(?=[a-z]{2})")
_VALUE_OF_KEY = re.compile(
    r"[\"']\s{0,9}:\s{0,9}(\"(?:[^\"\\]|\\.){0,2000}\"|'[^'\n]{0,2000}'"
    r"|\[[^\[\]]{0,2000}\]|[^\s,}\]]{1,100})",
    re.DOTALL,
)
_SHORT_VALUE = re.compile(r"(?:[^A-Za-z]|\\[a-z]+\s?|[A-Za-z]{1,2}(?![A-Za-z])){1,99}(?:\s[A-Za-z]{1,20}){0,2}")


def stated_answer(text: str) -> str | None:
    """Return the answer of the last statement in `text`: "" if it is empty, None if there is no statement.

    A remark on the answer, such as "the answer is easy", is no statement. An earlier statement has priority over one of common
    words only, as in "the answer is positive", and over the label of a result, which may belong to a step.
    """
    fallback: str | None = None
    for mark in islice(marks(text), _MAX_STATEMENTS):
        statement, has_priority = _statement(text, mark)
        if statement is not None and has_priority:
            return statement
        fallback = statement if fallback is None else fallback
    return fallback


def _statement(text: str, mark: Mark) -> tuple[str | None, bool]:
    """Return the answer at `mark`, None for a remark; and whether it has priority over earlier statements."""
    if mark.form is Form.TAG:
        return _tagged(text, mark.start), True
    if mark.form is Form.KEY:
        return _value_of_key(text, mark.start), True
    if mark.form is Form.SUBJECT:
        return _plain(mark.subject), True
    statement, is_question = _stated(text, mark.start)
    if mark.form is Form.RESULT:
        return (statement if _SHORT_VALUE.fullmatch(statement) else None), False
    if mark.form is Form.LABEL or not statement:
        return statement, True
    return (None if is_question or is_remark(statement) else statement), holds_value(statement)


def _tagged(text: str, start: int) -> str:
    """Return the text from `start`, the end of `<answer>`, to the closing tag; "" if there is no closing tag."""
    stop = _CLOSING_TAG.search(text, start)
    return without_reason(_plain(text[start : stop.start()])) if stop else ""


def _value_of_key(text: str, start: int) -> str | None:
    """Return the value of the JSON key that ends at `start`."""
    value = _VALUE_OF_KEY.match(text, start)
    if not value:
        return None
    if not value[1].startswith('"'):
        return _plain(value[1]).strip("'")
    try:
        return _plain(json.loads(_SINGLE_BACKSLASH.sub(r"\\\\", value[1]), strict=False))
    except ValueError:  # an invalid escape in JSON
        return _plain(value[1])


def _stated(text: str, start: int) -> tuple[str, bool]:
    """Return the answer of the statement whose mark ends at `start`, and whether the statement is a question."""
    introduction = INTRODUCTION.match(text, start, start + _MAX_CHARS)
    if introduction:  # keeps the marks of bold, whose other half may be in the answer
        start += len(introduction.group().rstrip("*"))
    end = _end(text, start)
    if end is None:
        return "", False
    statement = text[start:end].strip()
    for opening, closing in _DISPLAY.items():
        inside = statement.rstrip(_ORNAMENTS).removeprefix(opening).removesuffix(closing)
        if len(inside) == len(statement.rstrip(_ORNAMENTS)) - 4 and opening not in inside:
            return _plain(inside), False
    is_question = text.startswith("?", end)
    return without_sentence(_closed(_plain(without_reason(statement)))), is_question


def _end(text: str, start: int) -> int | None:
    """Return where the statement that begins at `start` ends; None if display mathematics in it is never closed."""
    depth, display_end = 0, start
    limit = min(len(text), start + _MAX_CHARS)
    for stop in _STOP.finditer(text, start, limit):
        if stop.start() < display_end:
            continue
        part = stop.group()
        if closing := _DISPLAY.get(part) or (part.startswith("\\begin") and part.replace("begin", "end", 1)):
            closed = text.find(closing, stop.end(), limit)
            if closed < 0:
                return None
            display_end = closed + len(closing)
        elif part in "{}":
            depth += 1 if part == "{" else -1
            if depth < 0:
                return stop.start()
        elif not part.startswith("\\"):
            return stop.end() + (text[stop.end() : stop.end() + 1] == "$") if part == "." else stop.start()
    return limit


def _plain(answer: str) -> str:
    """Return `answer` without emphasis, ornaments and trailing punctuation."""
    answer = _BOLD.sub(r"\1", _STRUCK.sub("", answer)).lstrip(_QUOTES).rstrip(_ORNAMENTS)
    return f"{answer}." if _TIME.search(answer) else answer


def _closed(statement: str) -> str:
    """Return `statement` without a bracket at its end that opens before the mark, as in `(Answer: 5)`."""
    unopened = sum(map(statement.count, "([")) < sum(map(statement.count, ")]"))
    if unopened and statement.endswith((")", "]")) and not statement.endswith(("\\)", "\\]")):
        return statement[:-1].rstrip(_ORNAMENTS)
    return statement
