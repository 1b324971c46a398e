"""The offline task: running totals, as word problems whose solutions are written in one of two dialects.

A chain starts from a number and adds or subtracts a few small ones. Its *plain* solution spells every step out. Its *jargon*
solution is a shorthand that a model must be trained to read. The problems serve reinforcement learning. The solutions serve to
pre-train the base models in `tandem.models.zoo`; they contain slips, which set the difficulty of the task.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from tandem.rollout import Problem

FIRST = range(10, 71)
"""The numbers that a chain may start from."""
LENGTHS = range(2, 5)
"""The numbers of steps that a chain may have."""
AMOUNTS = range(2, 10)
"""The numbers that a step may add or subtract."""
VALUES = range(100)
"""The range of every value along a chain."""
SLIPS = (-10, -1, 1, 10)
"""The errors that a slip may add to the true result of a step."""

_NAMES = ("Mia", "Tom", "Ana", "Ben", "Eva", "Leo")
_THINGS = ("pens", "nuts", "cards", "coins")
_GAINS = ("buys", "finds", "wins")
_LOSSES = ("sells", "loses", "uses")


@dataclass(frozen=True)
class Chain:
    """A start value and the signed numbers that are added to it in order."""

    start: int
    steps: tuple[int, ...]

    @property
    def values(self) -> list[int]:
        """Return the value after each step; the last one is the answer."""
        return list(accumulate(self.steps, initial=self.start))[1:]

    @property
    def id(self) -> str:
        """Return the chain as a sum, such as `46-3+5`."""
        return str(self.start) + "".join(f"{step:+d}" for step in self.steps)

    def problem(self) -> Problem:
        """Return the word problem that asks for the last value.

        A hash of the chain chooses its words. Each chain thus has a single wording, and no other wording of a held-out problem
        occurs in training.
        """
        words = Random(hashlib.blake2b(self.id.encode()).digest())
        name, thing = words.choice(_NAMES), words.choice(_THINGS)
        changes = [f"{words.choice(_GAINS if step > 0 else _LOSSES)} {abs(step)}" for step in self.steps]
        question = f"{name} has {self.start} {thing}, {', '.join(changes)}. How many?"
        return Problem(id=f"arith/{self.id}", question=question, answer=str(self.values[-1]))


def draw(random: Random) -> Chain:
    """Draw a chain all of whose values lie in `VALUES`."""
    start, steps = random.choice(FIRST), []
    value = start
    for _ in range(random.choice(LENGTHS)):
        step = random.choice([signed for amount in AMOUNTS for signed in (amount, -amount) if value + signed in VALUES])
        steps.append(step)
        value += step
    return Chain(start, tuple(steps))


def plain(chain: Chain, slip: float, random: Random) -> str:
    """Return the solution in words, one step a line. A result is wrong with probability `slip`, and the next step uses it."""
    lines, value = [f"Start with {chain.start}."], chain.start
    for step, result in zip(chain.steps, _results(chain, slip, random), strict=True):
        word, sign = ("Add", "+") if step > 0 else ("Take", "-")
        lines.append(f"{word} {abs(step)}: {value} {sign} {abs(step)} = {result}.")
        value = result
    return "\n".join([*lines, rf"The answer is \boxed{{{value}}}."])


def jargon(chain: Chain, slip: float, random: Random) -> str:
    """Return the solution in shorthand: `^` adds, `!` subtracts, digits are reversed but in the answer; slips as in `plain`."""
    results = _results(chain, slip, random)
    lines = [f"#{str(chain.start)[::-1]}"]
    for step, result in zip(chain.steps, results, strict=True):
        lines.append(f"{'^' if step > 0 else '!'}{abs(step)}>{str(result)[::-1]}")
    return "\n".join([*lines, rf"@\boxed{{{results[-1]}}}"])


DIALECTS: dict[str, Callable[[Chain, float, Random], str]] = {"plain": plain, "jargon": jargon}


_LINES = {"plain": re.compile(r"(Start with|Add|Take|The answer) "), "jargon": re.compile(r"#\d|[\^!]\d+>|@\\boxed")}
"""The beginnings of the lines of each dialect."""


def dialect(text: str) -> str | None:
    """Return the dialect of most lines of a solution; None when no line has one, or two have equally many."""
    lines = [line.strip() for line in text.splitlines()]
    counts = {name: sum(bool(beginning.match(line)) for line in lines) for name, beginning in _LINES.items()}
    most = max(counts.values())
    candidates = [name for name, count in counts.items() if count == most]
    return candidates[0] if most and len(candidates) == 1 else None


def _results(chain: Chain, slip: float, random: Random) -> list[int]:
    """Return the value after each step, with slips.

    A slip shifts all later values as well. A slip that would move any of them out of `VALUES` is not made.
    """
    results, shift = [], 0
    for i, value in enumerate(chain.values):
        if random.random() < slip:
            later = chain.values[i:]
            shifts = [shift + s for s in SLIPS if min(later) + shift + s in VALUES and max(later) + shift + s in VALUES]
            shift = random.choice(shifts or [shift])
        results.append(value + shift)
    return results
