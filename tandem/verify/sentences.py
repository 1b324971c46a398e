"""The verifier of `data=sentences`: whether a response is one sentence of the right length with the required words in order.

It runs in a worker, as `data.verifier=tandem.verify.sentences:score`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tandem.verify.judgement import Judgement, Verdict, plain_judgement

LEAST_WORDS, MOST_WORDS = 10, 25
"""The numbers of words that a sentence may have."""

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
"""A word; `rain-coat` and `lion's` are words of their own, so neither is `rain` nor `lion`."""
_SENTENCE_END = re.compile(r"[.!?]+[\"'”’)]*(?=\s|$)")


def gold(words: Sequence[str]) -> str:
    """Return the gold answer: the required words in their order."""
    return " ".join(words)


def score(gold: str, response: str) -> Judgement:
    """Return the judgement of `response`: unparsable unless it is one sentence, else correct or wrong.

    A sentence is one line whose only sentence end is its last characters. It is correct if it has `LEAST_WORDS` to `MOST_WORDS`
    words, and the words of `gold` among them in their order. Case does not matter.
    """
    sentence = response.strip()
    ends = [match.end() for match in _SENTENCE_END.finditer(sentence)]
    if ends != [len(sentence)] or "\n" in sentence:
        return plain_judgement(Verdict.UNPARSABLE)
    words = _WORD.findall(sentence.lower())
    rest = iter(words)
    obeys = LEAST_WORDS <= len(words) <= MOST_WORDS and all(word in rest for word in gold.split())
    return plain_judgement(Verdict.CORRECT if obeys else Verdict.WRONG, sentence)
