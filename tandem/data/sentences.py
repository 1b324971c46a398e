"""Instructions in natural language whose keeping a program can check: a sentence with given words, in a given order.

A language model of 135 million parameters keeps about a quarter of them. No base model was pre-trained on these problems.
"""

from __future__ import annotations

from random import Random

from tandem.rollout import Problem
from tandem.verify.sentences import LEAST_WORDS, MOST_WORDS, gold

_NOUNS = """
airport apple artist baker basket beach bell bicycle bird blanket boat book bottle bread bridge brother camera
candle captain carpet castle chair child church city clock cloud coat coffee cousin dinner doctor dog door dream
engine farmer fence field fire flower forest friend garden gift guitar harbor hat hill horse hospital hotel island
jacket kitchen ladder lake lamp letter library lion market mirror money moon morning mother mountain museum music
neighbor newspaper nurse ocean office orange painting paper park pencil phone piano picture pilot planet pocket
queen rabbit rain river road roof sailor school shirt shoe snow soldier song soup spoon station storm story street
sugar summer table teacher ticket tower town train tree umbrella valley village violin wagon wall whale wheel wind
window winter wolf
"""
NOUNS = tuple(_NOUNS.split())
"""The words that a sentence may have to contain. None is another one's plural or part of a compound among them."""
REQUIRED = 3
"""The number of words that a sentence must contain."""


def draw(random: Random) -> Problem:
    """Draw the required words and return the instruction. Its id is the words in their order."""
    words = random.sample(NOUNS, REQUIRED)
    question = (
        f"Write one sentence of {LEAST_WORDS} to {MOST_WORDS} words that contains the words "
        f"{', '.join(words[:-1])} and {words[-1]} in this order."
    )
    return Problem(id=f"sentences/{'-'.join(words)}", question=question, answer=gold(words))
