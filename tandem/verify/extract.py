r"""Extraction of the final answer from a text.

Only an explicit mark counts; unmarked numbers are never guessed. Without a custom pattern the marks are, in this order:

1. The last `\boxed{...}`, with the boxes that "and", "or" or a comma joins to it. If its brace is never closed, the text states
   no answer. An empty box, or one that holds only dots, repeats the prompt and is no mark.
2. The last statement in words (`tandem.verify.statements`), such as "The answer is ...", `Final Answer: ...`, `#### ...` or
   `<answer>...</answer>`.

Text between `<think>` and `</think>` is ignored, and so is a further question after an answer. Without a custom pattern the
time is linear in the length of the text; a custom pattern may take any time.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Literal

from tandem.verify.guards import Unparsable
from tandem.verify.plain import settle
from tandem.verify.remarks import without_reason
from tandem.verify.statements import stated_answer

BOXED: Literal["boxed"] = "boxed"
"""The value of `judge.answer_pattern` with which only boxes count."""
Pattern = re.Pattern[str] | Literal["boxed"]
"""The result of `compile_pattern` for a value that is not empty."""

_BOX = re.compile(r"\\(?:begin)?(?:boxed|fbox|framebox)(?![A-Za-z])[ \t]*(?:\s*(\{))?")
r"""The start of a box; some models write `\beginboxed{` by mistake. Without a brace the box holds the text that follows."""
_PLACEHOLDER = re.compile(r"\\(?:boxed|fbox|framebox)\s?\{\s{0,9}(?:\.{2,9}|…|\\[lc]?dots|_{1,9})?\s{0,9}\}")
"""A box without contents, as in a prompt: `\\boxed{}`, `\\boxed{...}`."""
_QUESTION = re.compile(r"^[ \t*#_>]{0,9}(?:Question|QUESTION|Problem|PROBLEM|Q)\s?\d{0,3}[*_]{0,3}:", re.MULTILINE)
"""The start of a line that asks another question."""
_MAX_QUESTIONS = 50
"""Later questions are ignored."""
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
"""A brace that groups, or an escape to skip: `\\{` prints a brace and groups nothing."""
_BARE_END = re.compile(r"\\[)\]]|\\.|[{}]|[\s$<]|\Z", re.DOTALL)
"""Where the contents of a box without braces may end: at white space or at the end of the mathematics."""
_BLANK = r"[\s$;*{}]|\\[()\[\],;: ]|\\q?quad(?![A-Za-z])"
_GAP = rf"(?>(?:{_BLANK})*)"
_CONNECTIVE = r"(?<![A-Za-z])(?:and|or)(?![A-Za-z])|\\(?:land|lor|vee|wedge)(?![A-Za-z])"
_JOINT = re.compile(rf"(?:{_BLANK}|,|\\text\s?\{{|{_CONNECTIVE})*")
_JOINS = re.compile(rf",|{_CONNECTIVE}")
_TEXT = r"(?:\\text\s?\{)?"
_UNIT = rf"(?:{_TEXT}\s?[A-Za-z]{{1,12}}(?:\^\d)?{_GAP})?"
_VALUE_BEFORE = re.compile(
    rf"(?:[\d)\]!%°]|\\[A-Za-z]+|(?<![A-Za-z\\])[A-Za-z]){_GAP}(?:,|(?:,{_GAP})?{_TEXT}{_GAP}(?:{_CONNECTIVE})){_GAP}\Z"
    rf"|\d{_GAP}{_UNIT}{_TEXT}{_GAP}(?:{_CONNECTIVE}){_GAP}\Z"
)
"""A value and what joins it to the box that follows. Before a comma a word is no unit: "In 5 days, ..." states no value."""
_VALUE_AFTER = re.compile(
    rf"{_GAP}(?:,|(?:,{_GAP})?{_UNIT}{_TEXT}{_GAP}(?:{_CONNECTIVE})){_GAP}{_TEXT}{_GAP}"
    r"(?:[-+]?\s?(?:\d|\\(?:d?frac|sqrt|pi|boxed)(?![A-Za-z]))|[(\[]|[-+]?\s?(?!a\s[A-Za-z])[A-Za-z](?![A-Za-z]))"
)
"""The joint between a box and a value after it, and the start of that value."""
_NAME = re.compile(r"([A-Za-z](?:_(?:\w|\{\w{1,9}\}))?)\s{0,3}=\s{0,3}\Z")
"""The name of an unknown before the box with its value: `x = \\boxed{5}`."""
_NAME_CHARS = 20
_CONTRAST = re.compile(
    r"\}?(?:[\s$(*,;–—-]|\\[()\[\],;: ])*(?:rather\sthan|instead\sof|as\sopposed\sto|(?:(?:and|but)\s)?not)(?:[\s$*]|\\[(\[])*"
)
"""The text between the box of the answer and the box of a rejected value."""
_JOINT_CHARS = 60
"""Boxes that are further apart are not joined."""
_MAX_BOXES = 50
"""Boxes, counted from the last, that may be joined."""
_FEW_BOXES = 6
"""From this number of values on, a box that repeats one of them in another notation counts as another value."""
_SHORT_BOX = 100
"""Longer boxes are not compared with each other."""
_THINK = re.compile(r"<(/?)(?:seed:)?think(?:ing)?>")
_OPENING = re.compile(_THINK.pattern + r"\s*\Z")


def compile_pattern(answer_pattern: str, key: str = "judge.answer_pattern") -> Pattern | None:
    """Compile a custom pattern, the value of the setting `key`. Return None when it is empty: then the marks above count.

    `boxed` is no regular expression: of the marks above, only boxes count. Raises `ValueError` when another value is not a
    regular expression or has no group for the answer.
    """
    if not answer_pattern:
        return None
    if answer_pattern == BOXED:
        return BOXED
    try:
        pattern = re.compile(answer_pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{key}={answer_pattern!r} is not a regular expression: {error}") from error
    if not pattern.groups:
        raise ValueError(f"{key}={answer_pattern!r} has no group: put parentheses around the answer")
    return pattern


def final_answer(text: str, pattern: Pattern | None = None) -> str | None:
    """Return the final answer that `text` states, stripped, or None if it states none.

    With a `pattern` this is the first group of its last match, otherwise the text at the mark that counts. If that text is
    empty, no earlier mark replaces it.
    """
    text = without_thinking(text)
    if isinstance(pattern, re.Pattern):
        matches = deque(pattern.finditer(text), maxlen=1)
        answer = matches[0].group(1) if matches else None
    else:
        answer = _marked(_first_problem(text), boxes_only=pattern == BOXED)
    return (answer or "").strip() or None


def marks_answer(text: str) -> bool:
    """Return whether `text` holds the mark of a final answer, even an empty one."""
    text = without_thinking(text)
    return bool(_BOX.search(text)) or stated_answer(text) is not None


def _marked(text: str, *, boxes_only: bool = False) -> str | None:
    """Return the answer at the mark in `text` that counts: "" if the mark is empty, None if there is no mark."""
    boxes = deque((box for box in _BOX.finditer(text) if not _PLACEHOLDER.match(text, box.start())), maxlen=_MAX_BOXES)
    if boxes:
        return _in_boxes(text, _outer(text, boxes) if len(boxes) > 1 else boxes)
    return None if boxes_only else stated_answer(text)


def _first_problem(text: str) -> str:
    """Return `text` up to the question that follows an answer: base models often continue with further problems."""
    start = 0
    for question in islice(_QUESTION.finditer(text), _MAX_QUESTIONS):
        if (_marked(text[start : question.start()]) or "").strip():
            return text[: question.start()]
        start = question.start()
    return text


def without_thinking(text: str) -> str:
    """Return `text` without the parts between `<think>` and `</think>`.

    An unclosed `<think>` reaches to the end of the text. A `</think>` without a `<think>` reaches back to the beginning: a
    chat template may open the thinking in the prompt.
    """
    kept: list[str] = []
    start, thinking = 0, False
    for tag in _THINK.finditer(text):
        closes = bool(tag[1])
        if closes and not thinking:
            kept.clear()
        elif not closes and not thinking:
            kept.append(text[start : tag.start()])
        start, thinking = tag.end(), not closes
    if not thinking:
        kept.append(text[start:])
    return "\n".join(kept)


def opened_thinking(prompt: str) -> str:
    """Return the `<think>` tag at the end of `prompt`, which makes the response start with thinking, or ""."""
    tag = _OPENING.search(prompt)
    return tag.group() if tag and not tag[1] else ""


def _in_boxes(text: str, boxes: Sequence[re.Match[str]]) -> str | None:
    """Return the contents of the last box and of the boxes joined to it: `\\boxed{1}$ and $\\boxed{2}` is `1, 2`."""
    answers: list[tuple[str, str]] = []
    start = None
    for box in reversed(boxes):
        end = _end_of(text, box)
        if end is not None and start is not None and _contrasts(text, end, start):
            answers = []
        elif end is None or (start is not None and not _joins(text, end, start)):
            break
        answer, start = _boxed(text[box.end() : end], bare=not box[1]), box.start()
        match = _NAME.search(text, max(0, start - _NAME_CHARS), start)
        name, start = (match[1], match.start()) if match else ("", start)
        few = len(answers) < _FEW_BOXES
        same_name = [other for other_name, other in answers if name == other_name or not (name and other_name)]
        if answer not in same_name and not (few and any(_restates(answer, other) for other in same_name)):
            answers.insert(0, (name, answer))
    all_named = len(answers) > 1 and all(name for name, _ in answers)
    return ", ".join(f"{name} = {answer}" if all_named else answer for name, answer in answers)


def _outer(text: str, boxes: Sequence[re.Match[str]]) -> list[re.Match[str]]:
    """Return the boxes without those in another one that joins a value to them, as in `\\boxed{5 or \\boxed{6}}`."""
    closing = _closing_braces(text, boxes[0].start())
    outer: list[re.Match[str]] = []
    outer_end, joins = 0, False
    for box in boxes:
        end = closing.get(box.end() - 1, box.end())
        if box.start() < outer_end:
            before = text[max(outer[-1].end(), box.start() - _JOINT_CHARS) : box.start()]
            after = text[end : min(outer_end, end + _JOINT_CHARS)].removeprefix("}")
            joins = joins or bool(_VALUE_BEFORE.search(before) or _VALUE_AFTER.match(after))
            if joins:
                continue
            outer.pop()
        outer.append(box)
        outer_end, joins = end, False
    return outer


def _closing_braces(text: str, start: int) -> dict[int, int]:
    """Return where each brace of `text` from `start` closes, by where it opens."""
    opened: list[int] = []
    closing: dict[int, int] = {}
    for part in _BRACE.finditer(text, start):
        if part.group() == "{":
            opened.append(part.start())
        elif part.group() == "}" and opened:
            closing[opened.pop()] = part.start()
    return closing


def _restates(answer: str, other: str) -> bool:
    """Return whether two boxes state one value, as in `\\boxed{\\frac12}$, or $\\boxed{0.5}$`; False for long contents."""
    if max(len(answer), len(other)) > _SHORT_BOX:
        return False
    try:
        return settle(other, answer) is True
    except Unparsable:
        return False


def _boxed(contents: str, bare: bool) -> str:
    """Return the answer in the contents of a box, which may hold a mark too."""
    stated = stated_answer(contents)
    answer = without_reason(contents).strip() if stated is None else stated
    return answer.rstrip(".,;:") if bare else answer


def _contrasts(text: str, end: int, start: int) -> bool:
    """Return whether the box that ends at `end` holds the answer and the box that begins at `start` a rejected value."""
    return 0 <= start - end <= _JOINT_CHARS and bool(_CONTRAST.fullmatch(text, end, start))


def _joins(text: str, end: int, start: int) -> bool:
    """Return whether the text between the box that ends at `end` and the box that begins at `start` joins them."""
    between = text[end:start] if 0 <= start - end <= _JOINT_CHARS else "no joint"
    return bool(_JOINS.search(between) and _JOINT.fullmatch(between))


def _end_of(text: str, box: re.Match[str]) -> int | None:
    """Return where the contents of `box` end; None if its brace is never closed."""
    depth = 1 if box[1] else 0
    for part in (_BRACE if box[1] else _BARE_END).finditer(text, box.end()):
        depth += {"{": 1, "}": -1}.get(part.group(), 0)
        if box[1] and depth == 0:
            return part.start()
        if not box[1] and (depth < 0 or (depth == 0 and not re.match(r"\\[^)\]]|[{}]", part.group()))):
            return part.start()
    return None
