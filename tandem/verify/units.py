r"""Units of measure and currencies: their dimension and size.

Units are given without `\\text{...}`: cm, square feet, km/h, m s^{-2}, metres per second.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

_SI = """
metre 1 nµmcdk m meter metre
gram 1 nµmckM g gram
second 1 pnµm s sec second
metre^3 1/1000 µmcd L l liter litre
ampere 1 nµmk A amp ampere
kelvin 1 m K kelvin
mole 1 nµmk mol mole
second^-1 1 mkMGT Hz hertz
gram·metre·second^-2 1000 µmkM N newton
gram·metre^-1·second^-2 1000 mkMG Pa pascal
gram·metre^2·second^-2 1000 nµmkMGT J joule
gram·metre^2·second^-3 1000 nµmkMGT W watt
ampere·second 1 pnµmk C coulomb
ampere^-1·gram·metre^2·second^-3 1000 nµmkM V volt
ampere^-2·gram·metre^2·second^-3 1000 µmkMG Ω ohm \\Omega
ampere^2·gram^-1·metre^-2·second^4 1/1000 pnµm F farad
ampere^-1·gram·second^-2 1000 pnµm T tesla
ampere^-2·gram·metre^2·second^-2 1000 pnµm H henry
ampere^-1·gram·metre^2·second^-2 1000 m Wb weber
electronvolt 1 mkMGT eV electronvolt
byte 1 kMGT byte
"""
"""Dimension, size in base units, common prefixes, and the symbols and names of each unit."""
_PREFIXES = {"p": ("pico", -12), "n": ("nano", -9), "µ": ("micro", -6), "m": ("milli", -3), "c": ("centi", -2)}
_PREFIXES |= {"d": ("deci", -1), "k": ("kilo", 3), "M": ("mega", 6), "G": ("giga", 9), "T": ("tera", 12)}
_OTHERS = """
metre 1/1000000 micron
foot 1/12 in inch inches ''
foot 1 ft foot feet '
foot 3 yd yard
foot 5280 mi mile
gram 1 gm
gram 1000 kilo
pound 1/16 oz ounce
pound 1 lb pound
second 60 min minute
second 3600 h hr hour
second 86400 day
second 604800 week
second 1209600 fortnight
month 1 month
month 12 yr year
month 120 decade
month 1200 century centuries
pound 2000 ton
gram 1000000 tonne
gallon 1/768 tsp teaspoon
gallon 1/256 tbsp tablespoon
gallon 1/16 cup
gallon 1/8 pint
gallon 1/4 quart qt
gallon 1 gal gallon
degree 1 ° deg degree
radian 1 rad radian
celsius 1 °C
fahrenheit 1 °F
dollar 1/100 cent ¢
dollar 1 dollar USD \\$ US$ US\\$ bucks
euro 1 € euro EUR
pound-sterling 1 £ GBP
yuan 1 yuan ¥ CNY RMB 元
rupee 1 ₹ rupee Rs Rs. INR
yen 1 yen JPY
percent 1 % \\% percent percentage pct
gram·metre^2·second^-2 3600000000 kWh
gram·metre^2·second^-2 1/10000 erg
gram·metre·second^-2 1/100 dyn dyne
gram·metre^-1·second^-2 101325000 atm atmosphere
angstrom 1 Å \\AA angstrom
foot·second^-1 22/15 mph
metre·second^-1 5/18 kmh kph
acre 1 acre
hectare 1 ha hectare
bit 1 bit
calorie 1 cal
calorie 1000 kcal kilocalorie Cal
ppm 1 ppm
ppm 1/1000 ppb
decibel 1 dB decibel
gram·metre^-1·second^-2 100000000 bar
metre·second^-1 463/900 knot
"""
"""Other units. "calories" is none: it may mean cal or kcal, and is read as a counted thing."""


@dataclass(frozen=True)
class Unit:
    """The dimension of a unit and its size in base units."""

    kind: str
    factor: Fraction


def _table() -> Iterator[tuple[str, Unit]]:
    """Yield each symbol and name of all units, with and without prefixes."""
    for line in _OTHERS.strip().splitlines():
        kind, factor, *names = line.split()
        yield from ((name, Unit(kind, Fraction(factor))) for name in names)
    for line in _SI.strip().splitlines():
        kind, factor, prefixes, *names = line.split()
        for name in names:
            yield name, Unit(kind, Fraction(factor))
            for prefix in prefixes:
                word, power = _PREFIXES[prefix]
                symbol = len(name) <= 2 or name.startswith("\\") or name in ("mol", "sec")
                yield (prefix if symbol else word) + name, Unit(kind, Fraction(factor) * Fraction(10) ** power)


_EXACT = dict(_table())
_UNITS = {f"{name}{ending}": unit for ending in (".", "s") for name, unit in _EXACT.items() if ending == "." or len(name) > 1}
_UNITS |= _EXACT
_OF_ANY_CASE: dict[str, set[Unit]] = defaultdict(set)
for _name, _unit in _UNITS.items():
    if len(_name) > 1:
        _OF_ANY_CASE[_name.lower()].add(_unit)
_SHARED_SYMBOLS = (
    {_UNITS["C"].kind, _UNITS["°C"].kind},
    {_UNITS["F"].kind, _UNITS["°F"].kind},
)
_POWERS = {"square": 2, "sq": 2, "sq.": 2, "cubic": 3, "cu": 3, "cu.": 3}
_TRAILING_POWERS = {"squared": 2, "cubed": 3}
POWER = re.compile(r"\s?\^\s?\{?\s?(-?\d+)\s?\}?\Z")
"""A power after the name of a unit."""
_ANY_POWER = re.compile(r"\s?\^\s?\{?\s?(-?\d{1,2})\s?\}?(?!\d)")
_DIVISOR = re.compile(r"/\s?\(([^()/]*)\)\Z")
_RAISED = re.compile(r"(?P<name>[^^]+)(?:\^(?P<power>-?\d+))?")
_TOKEN = re.compile(r"/|[^\s/]+")
_PER = re.compile(r"\ban?\s(?=hour|minute|second|day)|\bper\b")
_MAX_POWER = 99
_MAX_UNITS = 6


def read_unit(words: str) -> Unit | None:
    """Return the unit in `words`, such as cm, square feet, km/h, J/(kg K), m s^{-2} or metres per second, or None."""
    words = _PER.sub("/", _DIVISOR.sub(r"/\1", words)).replace("\\cdot", " ").replace("*", " ")
    tokens = _TOKEN.findall(_ANY_POWER.sub(r"^\1 ", words))
    if not tokens or tokens[0] == "/" or len(tokens) > 2 * _MAX_UNITS:
        return None
    powers: Counter[str] = Counter()
    factor, sign, power = Fraction(1), 1, 1
    for place, token in enumerate(tokens):
        if token == "/":
            sign = -1
        elif token.lower() in _POWERS and place + 1 < len(tokens):
            power = _POWERS[token.lower()]
        elif token in _TRAILING_POWERS and place:
            continue
        else:
            trailing_power = _TRAILING_POWERS.get(tokens[place + 1], 1) if place + 1 < len(tokens) else 1
            raised = _RAISED.fullmatch(token)
            power *= sign * trailing_power * int(raised["power"] or 1) if raised else 0
            unit = unit_named(raised["name"]) if raised else None
            if unit is None or not 0 < abs(power) <= _MAX_POWER:
                return None
            for kind, exponent in _exponents(unit.kind):
                powers[kind] += power * exponent
            factor *= unit.factor**power
            power = 1
    kinds = [f"{kind}^{exponent}" if exponent != 1 else kind for kind, exponent in sorted(powers.items()) if exponent]
    return Unit("·".join(kinds) or "ratio", factor)


def _exponents(kind: str) -> Iterator[tuple[str, int]]:
    """Yield the base units of a dimension with their exponents."""
    for part in kind.split("·"):
        name, _, exponent = part.partition("^")
        yield name, int(exponent or 1)


def unit_named(name: str) -> Unit | None:
    """Return the unit called `name`, or None. Case matters only where it distinguishes units, as in mg and Mg."""
    name = name.replace(" ", "") if "$" in name else name
    if unit := _UNITS.get(name):
        return unit
    return next(iter(units)) if len(units := _OF_ANY_CASE.get(name.lower(), set())) == 1 else None


def same_kind(one: str, other: str) -> bool:
    """Return whether two units have the same dimension or share a symbol, as coulomb and celsius do."""
    return one == other or {one, other} in _SHARED_SYMBOLS
