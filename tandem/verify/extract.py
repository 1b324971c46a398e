r"""Where a text states its final answer.

Only an explicit mark counts, and no number is guessed from text that marks none. Without a pattern of the task's own the marks
are, in this order:

1. the last `\boxed{...}`, with those that "and", "or" or a comma joins to it; where it is never closed, the text states no
   answer. A box that is empty or holds only dots repeats the prompt's words and is no mark;
2. the last statement in words: "The answer is ...", `Final Answer: ...`, `#### ...`, `<answer>...</answer>` and their like
   (`tandem.verify.statements`).

What a model thinks, between `<think>` and `</think>`, is not part of the text, nor is another question that follows an answer.
Without a pattern, time grows linearly with the length of the text; a pattern of the task's own may take any time.
"""

from __future__ import annotations

import re
from collections import deque
from itertools import islice

from tandem.verify.plain import Unparsable, settle
from tandem.verify.remarks import without_reason
from tandem.verify.statements import stated_answer

_BOX = re.compile(r"\\(?:begin)?(?:boxed|fbox|framebox)(?![A-Za-z])[ \t]*(?:\s*(\{))?")
r"""Opens a box; `\beginboxed{` is a slip of some models. Without a brace the box holds what follows it."""
_PLACEHOLDER = re.compile(r"\\(?:boxed|fbox|framebox)\s?\{\s{0,9}(?:\.{2,9}|…|\\[lc]?dots|_{1,9})?\s{0,9}\}")
"""A box with nothing in it, as in a prompt: `\\boxed{}`, `\\boxed{...}`."""
_QUESTION = re.compile(r"^[ \t*#_>]{0,9}(?:Question|QUESTION|Problem|PROBLEM|Q)\s?\d{0,3}[*_]{0,3}:", re.MULTILINE)
"""Opens a line that poses another question."""
_MOST_QUESTIONS = 50
"""Lines after these many are not taken for questions."""
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
"""A brace that groups, or an escape to step over: `\\{` is a printed brace and groups nothing."""
_BARE_END = re.compile(r"\\[)\]]|\\.|[{}]|[\s$<]|\Z", re.DOTALL)
"""Where the contents of a box without braces may end: at white space and with the mathematics."""
_JOINT = re.compile(r"(?:[\s$;*{}]|\\[()\[\],;: ]|\\q?quad|,|and|or|\\text\s?\{|\\(?:land|lor|vee|wedge))*")
_JOINS = re.compile(r",|and|or|land|vee|wedge")
_NAME = re.compile(r"([A-Za-z](?:_(?:\w|\{\w{1,9}\}))?)\s{0,3}=\s{0,3}\Z")
"""In front of a box that holds the value of one unknown: `x = \\boxed{5}`."""
_NAME_CHARS = 20
_CONTRAST = re.compile(
    r"\}?(?:[\s$(*,;–—-]|\\[()\[\],;: ])*(?:rather\sthan|instead\sof|as\sopposed\sto|(?:(?:and|but)\s)?not)(?:[\s$*]|\\[(\[])*"
)
"""Between a box that holds the answer and another that holds what it is told apart from."""
_JOINT_CHARS = 60
"""Boxes that stand further apart are not joined."""
_MOST_BOXES = 50
"""More of them are not joined."""
_FEW_BOXES = 6
"""After this many values, a box that states one of them in another spelling counts as another value."""
_SHORT_BOX = 100
"""Longer boxes are not compared with each other."""
_THINK = re.compile(r"<(/?)(?:seed:)?think(?:ing)?>")
_OPENING = re.compile(_THINK.pattern + r"\s*\Z")


def compile_pattern(answer_pattern: str, key: str = "judge.answer_pattern") -> re.Pattern[str] | None:
    """Compile a task's own pattern, which the setting `key` holds; None when it is empty, which means the marks above.

    Raises `ValueError` when it is not a regular expression or has no group to hold the answer.
    """
    if not answer_pattern:
        return None
    try:
        pattern = re.compile(answer_pattern)
    except re.error as error:
        raise ValueError(f"{key}={answer_pattern!r} is not a regular expression: {error}") from error
    if not pattern.groups:
        raise ValueError(f"{key}={answer_pattern!r} has no group: put parentheses around the answer")
    return pattern


def final_answer(text: str, pattern: re.Pattern[str] | None = None) -> str | None:
    """Return the final answer that `text` states, stripped, or None if it states none.

    With a `pattern` it is the first group of the pattern's last match, otherwise what stands at the mark that counts. Where
    that is empty, an earlier mark does not replace it.
    """
    text = without_thinking(text)
    if pattern is not None:
        matches = deque(pattern.finditer(text), maxlen=1)
        answer = matches[0].group(1) if matches else None
    else:
        answer = _marked(_first_problem(text))
    return (answer or "").strip() or None


def marks_answer(text: str) -> bool:
    """Return whether `text` holds a mark of a final answer, even one that states none."""
    text = without_thinking(text)
    return bool(_BOX.search(text)) or stated_answer(text) is not None


def _marked(text: str) -> str | None:
    """Return what stands at the mark in `text` that counts; None, or nothing (""), where no answer is marked."""
    boxes = deque((box for box in _BOX.finditer(text) if not _PLACEHOLDER.match(text, box.start())), maxlen=_MOST_BOXES)
    return _in_boxes(text, boxes) if boxes else stated_answer(text)


def _first_problem(text: str) -> str:
    """Return `text` up to the question that follows an answer: a base model may go on with problems that nobody posed."""
    start = 0
    for question in islice(_QUESTION.finditer(text), _MOST_QUESTIONS):
        if (_marked(text[start : question.start()]) or "").strip():
            return text[: question.start()]
        start = question.start()
    return text


def without_thinking(text: str) -> str:
    """Return `text` without what stands between `<think>` and `</think>`.

    After a `<think>` that is never closed there is only thinking. Before a `</think>` that was never opened there is only
    thinking too: a chat template may have opened it in the prompt.
    """
    said: list[str] = []
    start, thinking = 0, False
    for tag in _THINK.finditer(text):
        closes = bool(tag[1])
        if closes and not thinking:
            said.clear()
        elif not closes and not thinking:
            said.append(text[start : tag.start()])
        start, thinking = tag.end(), not closes
    if not thinking:
        said.append(text[start:])
    return "\n".join(said)


def opened_thinking(prompt: str) -> str:
    """Return the `<think>` with which `prompt` ends, so that what follows is thinking until it is closed; else ""."""
    tag = _OPENING.search(prompt)
    return tag.group() if tag and not tag[1] else ""


def _in_boxes(text: str, boxes: deque[re.Match[str]]) -> str | None:
    """Return what the last of `boxes` holds, after those joined to it: `\\boxed{1}$ and $\\boxed{2}` is `1, 2`."""
    answers: list[str] = []
    named: list[str] = []
    start = None
    for box in reversed(boxes):
        end = _end_of(text, box)
        if end is not None and start is not None and _contrasts(text, end, start):
            answers, named = [], []
        elif end is None or (start is not None and not _joins(text, end, start)):
            break
        answer, start = _boxed(text[box.end() : end], bare=not box[1]), box.start()
        name = _NAME.search(text, max(0, start - _NAME_CHARS), start)
        start = name.start() if name else start
        if answer not in answers and not (len(answers) < _FEW_BOXES and any(_restates(answer, other) for other in answers)):
            answers.insert(0, answer)
            named += [f"{name[1]} = {answer}"] if name else []
    return ", ".join(reversed(named) if len(named) == len(answers) > 1 else answers)


def _restates(answer: str, other: str) -> bool:
    """Return whether two boxes state one value, as in `\\boxed{\\frac12}$, or $\\boxed{0.5}$`; False where they are long."""
    if max(len(answer), len(other)) > _SHORT_BOX:
        return False
    try:
        return settle(other, answer) is True
    except Unparsable:
        return False


def _boxed(contents: str, bare: bool) -> str:
    """Return what the contents of a box state: they may mark the answer themselves."""
    stated = stated_answer(contents)
    answer = without_reason(contents).strip() if stated is None else stated
    return answer.rstrip(".,;:") if bare else answer


def _contrasts(text: str, end: int, start: int) -> bool:
    """Return whether the box that ends at `end` holds the answer, and the one that begins at `start` what the answer is not."""
    return 0 <= start - end <= _JOINT_CHARS and bool(_CONTRAST.fullmatch(text, end, start))


def _joins(text: str, end: int, start: int) -> bool:
    """Return whether the text between a box that ends at `end` and another that begins at `start` joins them."""
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
