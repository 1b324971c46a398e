r"""Right and wrong answers to problems of every kind, in the spellings of models, drawn at random from a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from random import Random

PROBLEMS_OF_A_KIND = 7
"""Each has a gold and three answers, of which the last is wrong. The 17 kinds give 357 answers."""


@dataclass(frozen=True)
class Benign:
    """An answer and the gold of its problem."""

    kind: str
    gold: str
    answer: str

    @property
    def response(self) -> str:
        """Return a whole text that ends with the answer."""
        return (
            "Let $x$ be the unknown. From the first condition we get $x + 3y = 12$, so that $y = \\frac{12 - x}{3}$.\n\n"
            "Substituting, $$x^2 - 4x + \\frac{12 - x}{3} = 7.$$ The discriminant is $16 + 4 \\cdot 7 = 44$, positive, "
            "and only one of the roots satisfies $0 < x < 10$. Checking it in the second condition, both sides are equal.\n\n"
            f"Therefore, the answer is $\\boxed{{{self.answer}}}$."
        )


def benign_answers(seed: int) -> list[Benign]:
    """Return the answers of `seed`, kind by kind."""
    random = Random(seed)
    return [
        Benign(kind, gold, answer)
        for kind, draw in KINDS.items()
        for number in range(PROBLEMS_OF_A_KIND)
        for gold, answers in [draw(random, number)]
        for answer in answers
    ]


Drawn = tuple[str, tuple[str, str, str]]
"""A gold, and three answers of which the last is wrong."""


def integers(random: Random, number: int) -> Drawn:
    n = random.randint(2, 999)
    return f"{n}", (f"{n}", f"x = {n}", f"{n + 1}")


def decimals(random: Random, number: int) -> Drawn:
    n = random.randint(101, 9999)
    return f"{n / 100:.2f}", (f"{n / 100:.2f}", f"\\frac{{{n}}}{{100}}", f"{(n + 1) / 100:.2f}")


def fractions(random: Random, number: int) -> Drawn:
    f = Fraction(random.randint(1, 60), random.choice([7, 9, 11, 13]))
    top, bottom = f.numerator, f.denominator
    wrong = f"\\frac{{{top + 1}}}{{{bottom}}}" if number % 2 else f"{float(f):.2f}"
    return f"\\frac{{{top}}}{{{bottom}}}", (f"\\dfrac{{{top}}}{{{bottom}}}", f"{2 * top}/{2 * bottom}", wrong)


def thousands(random: Random, number: int) -> Drawn:
    n = random.randint(1_000, 9_999_999)
    return f"{n}", (f"{n:,}", f"{n:,}".replace(",", "{,}"), f"{n + 100:,}")


def mixed_numbers(random: Random, number: int) -> Drawn:
    whole, top = random.randint(1, 20), random.randint(1, 6)
    right = (f"{whole}\\frac{{{top}}}{{7}}", f"\\frac{{{7 * whole + top}}}{{7}}")
    return right[number % 2], (*right, f"{whole + 1}\\frac{{{top}}}{{7}}")


def percentages(random: Random, number: int) -> Drawn:
    n = random.randint(2, 99)
    # The gold also equals the number without the sign; math-verify cannot read a percent sign in a box.
    return f"{n}\\%", (f"{n}\\%", f"{n}\\%" if number else f"{n / 100:.2f}", f"{n + 1}\\%")


def roots(random: Random, number: int) -> Drawn:
    n, square = random.randint(2, 30), random.choice([2, 3, 5, 6, 7])
    near = f"{n * square**0.5:.9f}" if number % 2 else f"{n} \\cdot \\sqrt{{{square}}}"
    return f"{n}\\sqrt{{{square}}}", (f"\\sqrt{{{n * n * square}}}", near, f"{n * square**0.5:.2f}")


def pis(random: Random, number: int) -> Drawn:
    n = random.randint(2, 40)
    return f"\\frac{{{n}\\pi}}{{3}}", (f"\\frac{{{n}}}{{3}}\\pi", f"{n}\\pi/3", f"\\frac{{{n}\\pi}}{{4}}")


def expressions(random: Random, number: int) -> Drawn:
    a, b = random.randint(1, 9), random.randint(1, 9)
    return f"(x+{a})(x+{b})", (f"x^2+{a + b}x+{a * b}", f"{a * b}+x^2+{a + b}x", f"x^2+{a + b}x+{a * b + 1}")


def equations(random: Random, number: int) -> Drawn:
    a, b = random.randint(2, 9), random.randint(1, 9)
    return f"y={a}x+{b}", (f"y = {b} + {a}x", f"y={a}x+{b}", f"y={a}x-{b}")


def sets(random: Random, number: int) -> Drawn:
    one, two, three = sorted(random.sample(range(1, 60), 3))
    return (
        f"\\{{{one}, {two}, {three}\\}}",
        (f"\\{{{three}, {one}, {two}\\}}", f"{one}, {two}, {three}", f"\\{{{one}, {two}\\}}"),
    )


def tuples(random: Random, number: int) -> Drawn:
    a, b, c = random.sample(range(1, 60), 3)
    return f"({a}, {b}, {c})", (f"({a},{b},{c})", f"\\left({a}, {b}, {c}\\right)", f"({a}, {c}, {b})")


def intervals(random: Random, number: int) -> Drawn:
    a, b = random.randint(1, 9), random.randint(10, 99)
    return f"[{a},{b})", (f"[{a}, {b})", f"\\left[{a},{b}\\right)", f"({a},{b})")


def matrices(random: Random, number: int) -> Drawn:
    a, b, c, d = (random.randint(-9, 9) for _ in range(4))

    def written(kind: str, last: int) -> str:
        return f"\\begin{{{kind}}} {a} & {b} \\\\ {c} & {last} \\end{{{kind}}}"

    return written("pmatrix", d), (written("pmatrix", d), written("bmatrix", d), written("pmatrix", d + 1))


def units(random: Random, number: int) -> Drawn:
    n, unit = random.randint(2, 99), random.choice(["cm", "meters", "hours", "feet"])
    # Another unit makes the answer wrong; math-verify ignores units.
    wrong = f"{n} \\text{{ km}}" if number == 0 else f"{n + 1} \\text{{ {unit}}}"
    return f"{n} \\text{{ {unit}}}", (f"{n}", f"{n}\\text{{ {unit}}}", wrong)


def choices(random: Random, number: int) -> Drawn:
    right, wrong = random.sample("ABCDE", 2)
    # math-verify cannot read a letter with a full stop.
    return right, (f"\\text{{({right})}}", f"{right}." if number == 0 else f"({right})", f"({wrong})")


def words(random: Random, number: int) -> Drawn:
    right, wrong = random.sample(["Monday", "Tuesday", "Wednesday", "Evelyn", "Briana", "even", "isosceles"], 2)
    return f"\\text{{{right}}}", (f"\\text{{{right}}}", right, f"\\text{{{wrong}}}")


KINDS: dict[str, Callable[[Random, int], Drawn]] = {
    draw.__name__: draw
    for draw in (
        *(integers, decimals, fractions, thousands, mixed_numbers, percentages, roots, pis, expressions, equations),
        *(sets, tuples, intervals, matrices, units, choices, words),
    )
}
