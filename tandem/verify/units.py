r"""Units of measure and currencies: what each measures, and how much of it.

The words are those behind a number, without `\\text{...}` around them: cm, square feet, km/h, metres per second.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_TABLE = """
metre 1/1000000 µm micrometer micrometre micron
metre 1/1000 mm millimeter millimetre
metre 1/100 cm centimeter centimetre
metre 1 m meter metre
metre 1000 km kilometer kilometre
foot 1/12 in inch inches ''
foot 1 ft foot feet '
foot 3 yd yard
foot 5280 mi mile
gram 1/1000 mg milligram
gram 1 g gram gm
gram 1000 kg kilogram kilo
pound 1/16 oz ounce
pound 1 lb pound lbs
second 1/1000 ms millisecond
second 1 s sec second
second 60 min minute
second 3600 h hr hour
second 86400 day
second 604800 week
month 1 month
month 12 yr year
litre 1/1000 ml mL milliliter millilitre
litre 1 L l liter litre
gallon 1/4 quart qt
gallon 1 gal gallon
degree 1 ° deg degree
radian 1 rad radian
celsius 1 °C
fahrenheit 1 °F
kelvin 1 K kelvin
dollar 1/100 cent ¢
dollar 1 dollar USD \\$ US$ US\\$ bucks
euro 1 € euro EUR
pound-sterling 1 £ GBP
yuan 1 yuan ¥ CNY RMB 元
rupee 1 ₹ rupee Rs Rs. INR
yen 1 yen JPY
percent 1 % \\% percent percentage pct
ampere 1 A amp ampere
volt 1 V volt
watt 1 W watt
joule 1 J joule
joule 1000 kJ
newton 1 N newton
pascal 1 Pa pascal
hertz 1 Hz hertz
ohm 1 Ω ohm \\Omega
mole 1 mol mole
electronvolt 1 eV
angstrom 1 Å \\AA angstrom
foot/second 22/15 mph
metre/second 5/18 kmh kph
acre 1 acre
hectare 1 ha hectare
bit 1 bit
byte 1 byte
"""


@dataclass(frozen=True)
class Unit:
    """What a unit measures, and how much of it."""

    kind: str
    factor: Fraction


_UNITS = {
    name: Unit(kind, Fraction(factor))
    for kind, factor, *aliases in map(str.split, _TABLE.strip().splitlines())
    for alias in aliases
    for name in (alias, f"{alias}s", f"{alias}.")
}
_POWERS = {"square": 2, "sq": 2, "sq.": 2, "cubic": 3, "cu": 3, "cu.": 3}
POWER = re.compile(r"\s?\^\s?\{?\s?(-?\d+)\s?\}?\Z")
"""A power behind the name of a unit."""
_MOST_POWER = 3


def read_unit(words: str) -> Unit | None:
    """Return what `words` measure, such as cm, square feet, km/h or metres per second."""
    product, over = Unit("", Fraction(1)), False
    for piece in re.split(r"(\s?/\s?|\sper\s|\s?\\cdot\s?|\s?\*\s?|\ban?\s(?=hour|minute|second|day))", words):
        piece = piece.strip()
        if piece in ("/", "per", "a", "an"):
            over = True
            continue
        if not piece or piece in ("\\cdot", "*"):
            continue
        if (scale := _single(piece)) is None:
            return None
        factor = 1 / scale.factor if over else scale.factor
        product = Unit(f"{product.kind}{'/' if over else '·' if product.kind else ''}{scale.kind}", product.factor * factor)
    return product if product.kind and not product.kind.startswith("/") else None


def _single(words: str) -> Unit | None:
    power_match = POWER.search(words)
    power = int(power_match[1]) if power_match else 1
    name = words[: power_match.start()].strip() if power_match else words
    first, _, rest = name.partition(" ")
    if rest and first.lower() in _POWERS:
        name, power = rest, _POWERS[first.lower()]
    scale = unit_named(name)
    if scale is None or abs(power) > _MOST_POWER or power == 0:
        return None
    return Unit(f"{scale.kind}^{power}" if power != 1 else scale.kind, scale.factor**power)


def unit_named(name: str) -> Unit | None:
    """Return the unit that `name` alone names."""
    return _UNITS.get(name) or _UNITS.get(name.lower()) or _UNITS.get(name.replace(" ", ""))
