"""Gold answers in datasets: the answer itself, or a whole solution that marks its final answer.

GSM8K's `answer` is a solution that ends in "#### 18"; MATH's `solution` holds a box. Only answers can be compared, so the
answer is extracted from a gold by the same marks as from a response.
"""

from __future__ import annotations

import re

from tandem.verify.extract import compile_pattern, final_answer, marks_answer

MAX_WORDS = 12
"""A longer answer is a text that no response repeats."""
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}|[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3]{2}")
"""A word that is no LaTeX command."""


class UnreadableGold(ValueError):
    """A gold without a readable answer, so that every response would be wrong."""


def gold_answer(text: str, answer_pattern: str = "", key: str = "data.answer_pattern") -> str:
    """Return the gold answer that `text` holds.

    With `answer_pattern`, the value of the setting `key`, this is the first group of its last match. Without a pattern it is
    the final answer that `text` marks, or `text` itself without a mark. Raises `UnreadableGold` when the result is empty or
    has more than `MAX_WORDS` words.
    """
    pattern = compile_pattern(answer_pattern, key)
    answer = final_answer(text, pattern) if pattern or marks_answer(text) else text
    if answer is None:
        raise UnreadableGold(f"no match of {key}={answer_pattern!r}" if pattern else "the mark of its final answer is empty")
    if (word_count := len(_WORD.findall(answer))) > MAX_WORDS:
        raise UnreadableGold(f"a text of {word_count} words without a final answer that is marked")
    return answer
