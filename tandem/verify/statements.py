r"""Final answers that a text states in words: "The answer is 5", `**Final Answer:** 5`, `#### 5`, `<answer>5</answer>`.

A statement begins at a mark (`tandem.verify.marks`). It reaches to the end of its line or sentence, or of the display
mathematics in it. What is no part of the answer (`tandem.verify.remarks`) and what only changes its looks are left out.

This runs on untrusted text: no statement is read beyond `_LONGEST` characters, and no more than `_MOST` of them.
"""

from __future__ import annotations

import json
import re
from itertools import islice

from tandem.verify.marks import Form, Mark, marks
from tandem.verify.remarks import INTRODUCTION, holds_value, is_remark, without_reason, without_sentence

_LONGEST = 2000
"""Longer statements are cut off: nobody reads such an answer."""
_MOST = 50
"""More statements, counted from the end, are not read."""
_STOP = re.compile(
    r"\$\$|\\\[|\\begin\{[a-z]{1,20}\*?\}|(?:\\(?!begin\{)[^\[])+|[{}]"
    r"|\n|[。！]|(?<=[\d)$}])\.(?=[A-Z][a-z])"
    r"|(?<![AaPp]\.[Mm])\.(?=\$?[\s*\")]|\$?\Z)|[!?]{1,9}(?=[ \t*\"]{0,9}(?:\n|\Z))|</\w|<br|<\|",
)
"""Where a statement may end, and what to step over. The point in 3.5 ends none, nor does the factorial in 5! + 1."""
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
    """Return what the last statement in `text` says, perhaps nothing (""), or None where no statement is made.

    A remark on the answer, such as "the answer is easy", is no statement. What states common words only, as in "the answer is
    positive", and the label of a result, which may be that of a step, yield to an earlier statement.
    """
    fallback: str | None = None
    for mark in islice(marks(text), _MOST):
        said, firm = _statement(text, mark)
        if said is not None and firm:
            return said
        fallback = said if fallback is None else fallback
    return fallback


def _statement(text: str, mark: Mark) -> tuple[str | None, bool]:
    """Return what is stated at `mark`, None for a remark; and whether it may stand in for what is stated before it."""
    if mark.form is Form.TAG:
        return _tagged(text, mark.start), True
    if mark.form is Form.KEY:
        return _value_of_key(text, mark.start), True
    if mark.form is Form.SUBJECT:
        return _plain(mark.subject), True
    said, asked = _stated(text, mark.start)
    if mark.form is Form.RESULT:
        return (said if _SHORT_VALUE.fullmatch(said) else None), False
    if mark.form is Form.LABEL or not said:
        return said, True
    return (None if asked or is_remark(said) else said), holds_value(said)


def _tagged(text: str, start: int) -> str:
    """Return what stands between `<answer>`, which ends at `start`, and its closing tag; nothing if there is none."""
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
    except ValueError:  # an escape that JSON does not have
        return _plain(value[1])


def _stated(text: str, start: int) -> tuple[str, bool]:
    """Return what the statement says whose mark ends at `start`, and whether it is a question."""
    introduction = INTRODUCTION.match(text, start, start + _LONGEST)
    if introduction:  # but for the marks of bold, whose other half may stand within the answer
        start += len(introduction.group().rstrip("*"))
    end = _end(text, start)
    if end is None:
        return "", False
    said = text[start:end].strip()
    for opening, closing in _DISPLAY.items():
        inside = said.rstrip(_ORNAMENTS).removeprefix(opening).removesuffix(closing)
        if len(inside) == len(said.rstrip(_ORNAMENTS)) - 4 and opening not in inside:
            return _plain(inside), False
    asked = text.startswith("?", end)
    return without_sentence(_closed(_plain(without_reason(said)))), asked


def _end(text: str, start: int) -> int | None:
    """Return where the statement that begins at `start` ends; None if display mathematics in it is never closed."""
    depth, beyond = 0, start
    limit = min(len(text), start + _LONGEST)
    for stop in _STOP.finditer(text, start, limit):
        if stop.start() < beyond:
            continue
        part = stop.group()
        if closing := _DISPLAY.get(part) or (part.startswith("\\begin") and part.replace("begin", "end", 1)):
            closed = text.find(closing, stop.end(), limit)
            if closed < 0:
                return None
            beyond = closed + len(closing)
        elif part in "{}":
            depth += 1 if part == "{" else -1
            if depth < 0:
                return stop.start()
        elif not part.startswith("\\"):
            return stop.end() + (text[stop.end() : stop.end() + 1] == "$") if part == "." else stop.start()
    return limit


def _plain(answer: str) -> str:
    """Return `answer` without emphasis, ornaments and the punctuation behind it."""
    answer = _BOLD.sub(r"\1", _STRUCK.sub("", answer)).lstrip(_QUOTES).rstrip(_ORNAMENTS)
    return f"{answer}." if _TIME.search(answer) else answer


def _closed(said: str) -> str:
    """Return `said` without a bracket at its end that was opened in front of the mark, as in `(Answer: 5)`."""
    opened = sum(map(said.count, "([")) < sum(map(said.count, ")]"))
    return said[:-1].rstrip(_ORNAMENTS) if opened and said.endswith((")", "]")) and not said.endswith(("\\)", "\\]")) else said
