"""The offline task: running totals, as word problems whose solutions are written in one of two dialects.

A chain starts from a number and adds or takes away a few small ones. Its *plain* solution spells every step out; its *jargon*
solution is a shorthand that nobody reads who has not learnt it. Problems are for reinforcement learning, solutions (with slips,
which set how hard the task is) are for pre-training the base models in `tandem.models.zoo`.
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
"""What a chain may start from."""
LENGTHS = range(2, 5)
"""How many steps a chain may have."""
AMOUNTS = range(2, 10)
"""What a step may add or take."""
VALUES = range(100)
"""What every value along a chain must lie in."""
SLIPS = (-10, -1, 1, 10)
"""How far a slip may lead from the true result of a step."""

_NAMES = ("Mia", "Tom", "Ana", "Ben", "Eva", "Leo")
_THINGS = ("pens", "nuts", "cards", "coins")
_GAINS = ("buys", "finds", "wins")
_LOSSES = ("sells", "loses", "uses")


@dataclass(frozen=True)
class Chain:
    """`start`, and the signed numbers that are added to it one after the other."""

    start: int
    steps: tuple[int, ...]

    @property
    def values(self) -> list[int]:
        """The value after each step; the last one is the answer."""
        return list(accumulate(self.steps, initial=self.start))[1:]

    @property
    def id(self) -> str:
        """The chain as a sum, such as `46-3+5`."""
        return str(self.start) + "".join(f"{step:+d}" for step in self.steps)

    def problem(self) -> Problem:
        """The word problem that asks for the last value.

        Its words are drawn from a hash of the chain: each chain has one wording, so that no other wording of a held-out problem
        is ever trained on.
        """
        words = Random(hashlib.blake2b(self.id.encode()).digest())
        name, thing = words.choice(_NAMES), words.choice(_THINGS)
        deeds = [f"{words.choice(_GAINS if step > 0 else _LOSSES)} {abs(step)}" for step in self.steps]
        question = f"{name} has {self.start} {thing}, {', '.join(deeds)}. How many?"
        return Problem(id=f"arith/{self.id}", question=question, answer=str(self.values[-1]))


def draw(random: Random) -> Chain:
    """A chain all of whose values lie in `VALUES`."""
    start, steps = random.choice(FIRST), []
    value = start
    for _ in range(random.choice(LENGTHS)):
        step = random.choice([signed for amount in AMOUNTS for signed in (amount, -amount) if value + signed in VALUES])
        steps.append(step)
        value += step
    return Chain(start, tuple(steps))


def plain(chain: Chain, slip: float, random: Random) -> str:
    """The solution spelt out, a step a line; each result is a slip with probability `slip` and is carried on from."""
    lines, value = [f"Start with {chain.start}."], chain.start
    for step, result in zip(chain.steps, _results(chain, slip, random), strict=True):
        word, sign = ("Add", "+") if step > 0 else ("Take", "-")
        lines.append(f"{word} {abs(step)}: {value} {sign} {abs(step)} = {result}.")
        value = result
    return "\n".join([*lines, rf"The answer is \boxed{{{value}}}."])


def jargon(chain: Chain, slip: float, random: Random) -> str:
    """The solution in shorthand: `^` adds, `!` takes, running values are written backwards; slips as in `plain`."""
    results = _results(chain, slip, random)
    lines = [f"#{str(chain.start)[::-1]}"]
    for step, result in zip(chain.steps, results, strict=True):
        lines.append(f"{'^' if step > 0 else '!'}{abs(step)}>{str(result)[::-1]}")
    return "\n".join([*lines, rf"@\boxed{{{results[-1]}}}"])


DIALECTS: dict[str, Callable[[Chain, float, Random], str]] = {"plain": plain, "jargon": jargon}


_LINES = {"plain": re.compile(r"(Start with|Add|Take|The answer) "), "jargon": re.compile(r"#\d|[\^!]\d+>|@\\boxed")}
"""How the lines of each dialect begin."""


def dialect(text: str) -> str | None:
    """The dialect that most lines of a solution are in; None if that is no dialect or not one alone."""
    lines = [line.strip() for line in text.splitlines()]
    counts = {name: sum(bool(begins.match(line)) for line in lines) for name, begins in _LINES.items()}
    most = max(counts.values())
    found = [name for name, count in counts.items() if count == most]
    return found[0] if most and len(found) == 1 else None


def _results(chain: Chain, slip: float, random: Random) -> list[int]:
    """The value after each step, where every step may slip.

    A slip shifts all later values as well; slips that would lead any of them out of `VALUES` are not made.
    """
    results, shift = [], 0
    for i, value in enumerate(chain.values):
        if random.random() < slip:
            rest = chain.values[i:]
            shifts = [shift + s for s in SLIPS if min(rest) + shift + s in VALUES and max(rest) + shift + s in VALUES]
            shift = random.choice(shifts or [shift])
        results.append(value + shift)
    return results
