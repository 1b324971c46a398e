r"""Terms that sympy would evaluate wrongly, because it takes unknown quantities for constants or polynomials.

- \gcd(m, n) and \operatorname{lcm}(m, n) of variables, which sympy reads as polynomials with the divisor 1;
- f(2x), which the parser reads as the product of f and 2x, unless the other text has f as a factor;
- \sum_{i=1}^n x_i, \int_0^1 f(x) dx and \lim_{n \to \infty} a_n, whose terms depend on the bound variable;
- \frac{dy}{dx}, where y depends on x.

Each becomes the value of an unknown function, which equals only itself. Bound variables are renamed, so that their letter does
not count, and constant factors and sums are taken out of sums and integrals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from sympy import (
    Add,
    Derivative,
    Expr,
    Function,
    Integral,
    Limit,
    Mul,
    PolynomialError,
    Product,
    Sum,
    Symbol,
    cancel,
    expand,
    gcd,
    lcm,
    oo,
)
from sympy.core.function import AppliedUndef

from tandem.verify.guards import Unparsable
from tandem.verify.spelling import closing_bracket
from tandem.verify.structure import COMMA, split, variables

_OPAQUE_CALL = re.compile(r"(?:\\|(?<![A-Za-z\\]))(gcd|lcm)\s?(?=\()|(f(?:'+|\^\{-1\})?)\s?(?=\()")
"""The name of a divisor, or of an unknown function; other letters before parentheses may be factors."""
_DIVISOR_CALL = re.compile(r"(?:\\|(?<![A-Za-z\\]))(gcd|lcm)\s?(?=\()()")
_NO_FACTOR = re.compile(r"\\partial\s?f|\{d\s?f\}|\\[A-Za-z]+")
"""Commands, and derivatives of f."""
_FACTOR = re.compile(r"f(?!['_]|\s?\(|\^(?:\{[^{}]*\}|\w)\s?\()")
"""The letter f as a quantity, without parentheses after it."""
_LETTER = re.compile(r"\\[A-Za-z]+|[A-Za-z]")
_BOUND = "@"
"""The first character of a renamed bound variable; a number follows."""
_BOUND_NUMBER = re.compile(rf"{_BOUND}(\d+)")
_PLACEHOLDER = "theta_{{q{}}}"
_INFINITY = {oo: Symbol("infinity"), -oo: Symbol("-infinity")}
"""Ends as symbols: expressions that hold infinity are not compared at points."""


def without_opaque_calls(text: str, parse: Callable[[str], Any], functions: bool = True) -> tuple[str, dict[Any, Any]]:
    r"""Return `text` with a symbol for each \gcd(...), \lcm(...) and f(...), and their values.

    `parse` reads their arguments. Divisors of numbers have their value, others are unknown functions of sorted arguments.
    Without `functions`, f is a factor. Raises `Unparsable` when a divisor has no two arguments, or an argument cannot be read.
    """
    values: dict[Any, Any] = {}
    calls = _OPAQUE_CALL if functions else _DIVISOR_CALL
    while match := calls.search(text):
        end = closing_bracket(text, match.end())
        pieces = split(text[match.end() + 1 : end], COMMA)
        if end == len(text) or (match[1] and len(pieces) < 2):
            raise Unparsable(f"no call with its arguments: {text!r}")
        arguments = [parse(argument) for argument in pieces]
        if not all(isinstance(argument, Expr) for argument in arguments):
            raise Unparsable(f"a call with collections: {text!r}")
        name = _PLACEHOLDER.format("a" * (len(values) + 1))
        value = _divisor(match[1], arguments) if match[1] else Function(match[2])(*map(expand, arguments))
        values[Symbol(name, real=True)] = value
        text = f"{text[: match.start()]}\\{name}{text[end + 1 :]}"
    return text, values


def has_function(gold: str, answer: str) -> bool:
    """Return whether f before parentheses is a function: not if one side has f as a factor, as in f(g+h) and fg+fh.

    An answer that has both spellings does not make the f(...) of the gold a product.
    """
    calls = [[match for match in _OPAQUE_CALL.finditer(text) if match[2]] for text in (gold, answer)]
    for text, matches in zip((gold, answer), calls, strict=True):
        for match in matches:
            argument = text[match.end() + 1 : closing_bracket(text, match.end())]
            if match[2] != "f" or not variables(argument) or any(inner[2] for inner in _OPAQUE_CALL.finditer(argument)):
                return True  # f'(x), f(2) and f(f(x)) are no products
    gold_factor, answer_factor = (bool(_FACTOR.search(_NO_FACTOR.sub(" ", text))) for text in (gold, answer))
    return not gold_factor and (not answer_factor or bool(calls[1]))


def with_unknowns(expression: Any) -> Any:
    """Return `expression` with unknown functions for its sums, products, integrals, limits and derivatives of unknown terms."""
    if isinstance(expression, Derivative):
        return _derivative(expression)
    if not expression.args or not expression.has(Sum, Product, Integral, Limit, Derivative):
        return expression
    expression = expression.func(*map(with_unknowns, expression.args))
    if isinstance(expression, Limit):
        body, variable, *rest = expression.args
        return _unknown("limit", body, variable, rest) if _depends(body, variable) else expression
    if not isinstance(expression, Sum | Product | Integral):
        return expression
    body = expression.function
    for limits in expression.limits:  # the innermost first
        body = _bound(type(expression), body, *limits)
    return body


def _bound(kind: Any, body: Expr, variable: Expr, *ends: Expr) -> Expr:
    """Return the sum, product or integral of `body`: an unknown function where it depends on an unknown quantity."""
    if not _depends(body, variable):
        return kind(body, (variable, *ends))
    if kind is Product:
        return _unknown("product", body, variable, ends)
    return Add(*(_term(kind, term, variable, ends) for term in Add.make_args(expand(body))))


def _term(kind: Any, term: Expr, variable: Expr, ends: Sequence[Expr]) -> Expr:
    """Return the sum or integral of one term, with the constant factors before an unknown function."""
    if not _depends(term, variable):
        return kind(term, (variable, *ends))
    constant: list[Expr] = []
    dependent: list[Expr] = []
    for factor in Mul.make_args(term):
        (dependent if factor.has(variable) or _depends(factor, variable) else constant).append(factor)
    return Mul(*constant, _unknown(kind.__name__.lower(), Mul(*dependent), variable, ends))


def _unknown(name: str, body: Expr, variable: Expr, ends: Sequence[Expr]) -> Expr:
    """Return an unknown function of `body`, with `variable` renamed, and of the `ends`; without ends the variable stays."""
    if not ends:
        return Function(name)(body, variable)
    depth = max((int(number) for number in _BOUND_NUMBER.findall(str(body))), default=-1) + 1
    bound, letter = f"{_BOUND}{depth}", str(variable)
    renamed = {variable: Symbol(bound, real=True)}
    for symbol in filter(lambda symbol: _is_indexed(symbol, variable), body.free_symbols):
        base, _, subscript = symbol.name.partition("_")
        subscript = _LETTER.sub(lambda part: bound if _is(part[0], letter) else part[0], subscript)
        renamed[symbol] = Symbol(f"{base}_{subscript}", real=True)
    return Function(name)(body.xreplace(renamed), *(end.xreplace(_INFINITY) for end in ends))


def _derivative(expression: Derivative) -> Expr:
    """Return the derivative of an unknown quantity as a symbol or unknown function, and any other derivative unchanged."""
    body, letters = with_unknowns(expression.expr), expression.variables
    if body.is_Symbol and body not in letters:
        return Symbol(f"d{body}/{'/'.join(f'd{letter}' for letter in letters)}", real=True)
    return Function("derivative")(body, *letters) if body.has(AppliedUndef) else expression


def _depends(expression: Expr, variable: Expr) -> bool:
    """Return whether `expression` holds a symbol with the index `variable`, or an unknown function of it."""
    is_argument = any(value.has(variable) for value in expression.atoms(AppliedUndef))
    return is_argument or any(_is_indexed(symbol, variable) for symbol in expression.free_symbols)


def _is_indexed(symbol: Any, variable: Expr) -> bool:
    """Return whether the subscript of `symbol` holds `variable`, as in x_i, x_{i+1} and a_{ij}."""
    return any(_is(letter, str(variable)) for letter in _LETTER.findall(str(symbol).partition("_")[2]))


def _is(letter: str, name: str) -> bool:
    """Return whether a letter of a subscript is the variable `name`; Greek names have a backslash in subscripts only."""
    return letter.removeprefix("\\") == name.removeprefix("\\")


def _divisor(name: str, arguments: list[Any]) -> Expr:
    """Return the greatest common divisor or the least common multiple of `arguments`, which are positive integers."""
    arguments = sorted({expand(argument) for argument in arguments}, key=str)
    if len(arguments) == 1:
        return arguments[0]
    if name == "lcm":
        if all(argument.is_Integer for argument in arguments):
            return lcm(arguments)
        return Mul(*arguments) / _divisor("gcd", arguments) if len(arguments) == 2 else Function(name)(*arguments)
    try:
        common = gcd(arguments)  # sympy finds the common factors of polynomials, but not those of their values
        arguments = sorted({expand(cancel(argument / common)) for argument in arguments}, key=str)
    except PolynomialError as error:
        raise Unparsable(f"a divisor of {arguments}") from error
    is_one = any(argument == 1 for argument in arguments) or all(argument.is_Integer for argument in arguments)
    return common if is_one else common * Function(name)(*arguments)
