"""Units of measure behind a quantity: left out of the comparison, unless both answers name one and they differ."""

from __future__ import annotations

import re

_ALIASES = """
mm millimeter millimetre
cm centimeter centimetre
m meter metre
km kilometer kilometre
in inch inches
ft foot feet
yd yard
mi mile
mg milligram
g gram
kg kilogram
oz ounce
lb pound
s sec second
min minute
h hr hour
day
week
month
yr year
ml mL milliliter millilitre
L l liter litre
gal gallon
deg degree
dollar USD
cent
mph
km/h kmh kph
m/s
AM am a.m. A.M.
PM pm p.m. P.M.
"""
_CANONICAL = {
    name: line.split()[0]
    for line in _ALIASES.strip().splitlines()
    for alias in line.split()
    for name in (alias, f"{alias}s", f"{alias}.")
}
_POWERS = {"square": "2", "sq": "2", "sq.": "2", "cubic": "3", "cu": "3", "cu.": "3"}
_WRAPPED = r"\\(?:text|textrm|textbf|textit|mathrm|mbox|operatorname)\s?\{\s?(?P<wrapped>[^{}\\]*)\}"
_UNIT = re.compile(
    rf"""
    (?P<quantity>.*[\d}})])
    (?:
        \s?(?:{_WRAPPED}|(?P<attached>[A-Za-z]{{2,}})|\s(?P<words>[A-Za-z./]+(?:\s[A-Za-z./]+)?))
        (?:\s?\^\s?\{{?\s?(?P<power>[23])\s?\}}?)?
      | \s?\^\s?\{{?\s?\\circ\s?\}}?(?:\s?\\?(?:text|mathrm)?\s?\{{?\s?(?P<scale>[CF])\s?\}}?)?
      | \s?°
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
"""A word in the quantity, as in 5 feet 3 inches: what stands behind it is not its unit alone."""


def measured(text: str) -> tuple[str, str]:
    """The quantity that `text` states, and its unit under one name for all spellings; ("...", "") where no known unit is named.

    `text` has single spaces. `cm^2`, `square centimeters` and `\\text{cm}^2` are the same unit. Degrees count as one.
    """
    match = _UNIT.fullmatch(text)
    if not match or _WORD.search(match["quantity"]):
        return text, ""
    named = match["wrapped"] or match["attached"] or match["words"]
    if named is None:
        unit = f"deg {match['scale'] or ''}".strip()
    else:
        first, _, rest = named.strip().partition(" ")
        unit, power = (rest, _POWERS[first]) if rest and first in _POWERS else (named.strip(), match["power"])
        unit = _CANONICAL.get(unit) or _CANONICAL.get(unit.lower(), "")
        unit += f"^{power}" if unit and power else ""
    return (match["quantity"].strip(), unit) if unit else (text, "")
