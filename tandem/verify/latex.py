r"""Expressions, equations and matrices, read from LaTeX by latex2sympy.

All texts are canonical (`tandem.verify.spelling`). On a hostile text any function here may never end or use all memory.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from latex2sympy2_extended.latex2sympy2 import ConversionConfig, _Latex2Sympy
from sympy import (
    Derivative,
    Dummy,
    Expr,
    I,
    Integral,
    Limit,
    MatrixBase,
    MatrixExpr,
    Mul,
    Product,
    Rational,
    Sum,
    Symbol,
    UnevaluatedExpr,
)

from tandem.verify.guards import Unparsable
from tandem.verify.opaque import with_unknowns, without_opaque_calls

_CONFIG = ConversionConfig(lowercase_symbols=False)
_NOT_MATHEMATICS = re.compile(
    r"\\text|\d\s+\.?\d|\d\s?_|[\"`?@#;]|\\(?:begin|end)\{(?!.?matrix|array|cases)|[^\x00-\x7f°]|(?<![A-Za-z\\])[A-Za-z]{12,}|\\ldots|:.*:"
    r"|[\d)\]}|!]\s?'|\|_|(?:°|[\d)\]}]\^(?:\{[^{}]*\}|\w))\s?_"
)
"""Input that the parser skips or misreads: text, adjacent numbers, bases of numerals and powers, marks, words, derivatives."""
_IMAGINARY = re.compile(r"\\[A-Za-z]+|I")
_PRIMES = re.compile(r"([A-Za-z])('+)")
_CHOSEN = re.compile(r"(?<![A-Za-z\\])C\((\d{1,4}),\s?(\d{1,4})\)")
_ANGLE = re.compile(r"\\angle\s?\{?([A-Z]{3})(?![A-Za-z])\}?")
_TRANSPOSED = re.compile(r"\^(?:T(?![A-Za-z])|\{\s?T\s?\})")
"""A power of T, which the parser reads as a transposition."""
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_LEADING_ZEROS = re.compile(r"(?<![\d.])0+(?=\d)")
_POWER_OF_TEN = re.compile(r"(?<=\d)e([-+]?\d+)(?!\d)", re.IGNORECASE)
_FACTORIAL_POWER = re.compile(r"(?:(?:\\[A-Za-z]+|[A-Za-z])(?:_(?:\{\w*\}|\w))?|(?<![\d.])\d+|[)\]])\s?!(?=\s?\^)")
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")


class _Parser(_Latex2Sympy):
    """latex2sympy with exact decimals, and with products such as 2(\\frac12), which it takes for mixed numbers."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.decimals: dict[Symbol, Rational] = {}
        """Symbols for the decimals and their values: functions would evaluate a decimal to 15 digits."""

    def parse_number(self, text: str) -> Any:
        """Return the number in `text`; a decimal is a symbol of `decimals`."""
        if "." not in text:
            return super().parse_number(text)
        symbol = Dummy(real=True)
        self.decimals[symbol] = Rational(text.replace(",", ""))
        return symbol

    def convert_comp(self, comp: Any) -> Any:
        """Return the value of a part of an expression; a fraction in parentheses is kept from forming a mixed number."""
        value = super().convert_comp(comp)
        return Mul(1, value, evaluate=False) if comp.group() and isinstance(value, Rational) else value


@lru_cache(maxsize=4096)
def read(text: str, functions: bool = True) -> Any:
    """Return `text` as a sympy expression, relation or matrix; without `functions`, f before parentheses is a factor.

    Raises `Unparsable` when it cannot be read.
    """
    return evaluated(_parsed(text, functions))


def evaluated(expression: Any, imaginary: bool = True) -> Any:
    """Return `expression` evaluated by sympy, including sums, integrals and limits; `imaginary` makes i the imaginary unit."""
    if isinstance(expression, MatrixExpr):
        expression = expression.doit()
    if not isinstance(expression, Expr):
        if isinstance(expression, MatrixBase):
            return expression.applyfunc(evaluated)
        return expression
    if expression.has(UnevaluatedExpr, Sum, Product, Integral, Limit, Derivative):
        expression = with_unknowns(expression).doit()
    elif expression.args:
        expression = expression.func(*(evaluated(argument, imaginary) for argument in expression.args))
    if not imaginary or not isinstance(expression, Expr):
        return expression
    return expression.subs(Symbol("i", real=True), I)


def _parsed(text: str, functions: bool = True) -> Any:
    """Return what `text` says, not evaluated. Raises `Unparsable` when it cannot be read."""
    if not text or _NOT_MATHEMATICS.search(text):
        raise Unparsable(f"not a mathematical expression: {text!r}")
    degrees = bool(_TRIGONOMETRIC.search(text))
    text = text.replace("°", "^{\\circ}" if degrees else "")
    text = _CHOSEN.sub(lambda part: f"\\binom{{{part[1]}}}{{{part[2]}}}", text)
    text = _ANGLE.sub(lambda part: f"\\theta_{{{min(part[1], part[1][::-1])}}}", text)
    text = _IMAGINARY.sub(lambda part: "\\iota " if part[0] == "I" else part[0], text)
    if "\\begin" not in text:
        text = _TRANSPOSED.sub(r"^{1 \\cdot T}", text)
    text, opaque_calls = without_opaque_calls(
        text, lambda argument: evaluated(_parsed(argument, functions), imaginary=False), functions
    )
    text = _PRIMES.sub(lambda part: f"{part[1]}_{{{'p' * len(part[2])}}}", text)
    text = _LEADING_ZEROS.sub("", _GROUPED.sub(lambda number: number[0].replace(",", ""), text))
    text = _with_bare_factorials(_POWER_OF_TEN.sub(r"\\cdot 10^{\1}", text))
    try:
        parser = _Parser(is_real=True, convert_degrees=degrees, config=_CONFIG)
        expression = parser.parse(text)
        values = opaque_calls | parser.decimals
        return expression.xreplace(values) if values else expression
    except RecursionError as error:
        raise Unparsable(f"nested too deep: {text!r}") from error
    except Exception as error:  # the parser raises Exception itself, and any other error
        raise Unparsable(f"not a mathematical expression: {text!r}") from error


def _with_bare_factorials(text: str) -> str:
    """Return `text` with parentheses around each factorial that has a power, as in (n!)^2 for n!^2."""
    while power := _FACTORIAL_POWER.search(text):
        start, depth = power.start(), 0
        while text[start] in ")]" or depth:
            depth += (text[start] in ")]}") - (text[start] in "([{")
            if depth == 0:
                break
            start -= 1
            if start < 0:
                return text
        text = f"{text[:start]}({text[start : power.end()]}){text[power.end() :]}"
    return text
