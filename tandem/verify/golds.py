"""Gold answers as data sets have them: the answer itself, or a whole solution that marks its final answer.

GSM8K's `answer` is a solution that ends in "#### 18", MATH's `solution` one that holds a box. Only answers can be equivalent,
so the answer is taken out of a gold by the same marks as out of a response.
"""

from __future__ import annotations

import re

from tandem.verify.extract import compile_pattern, final_answer, marks_answer

MAX_WORDS = 12
"""An answer of more words is a text that no response repeats."""
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}|[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3]{2}")
"""A word, but no command of LaTeX."""


class UnreadableGold(ValueError):
    """A gold in which no answer can be read, so that every response would be wrong."""


def gold_answer(text: str, answer_pattern: str = "", key: str = "data.answer_pattern") -> str:
    """Return the gold answer that `text` holds.

    It is the first group of the last match of `answer_pattern`, which the setting `key` holds, or, without a pattern, what
    `text` marks as its final answer; where it marks none, `text` itself. Raises `UnreadableGold` when that is nothing, or a
    text of more than `MAX_WORDS` words.
    """
    pattern = compile_pattern(answer_pattern, key)
    answer = final_answer(text, pattern) if pattern or marks_answer(text) else text
    if answer is None:
        raise UnreadableGold(f"no match of {key}={answer_pattern!r}" if pattern else "the mark of its final answer is empty")
    if (words := len(_WORD.findall(answer))) > MAX_WORDS:
        raise UnreadableGold(f"a text of {words} words without a final answer that is marked")
    return answer
