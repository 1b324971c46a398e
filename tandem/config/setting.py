"""Fields of the configuration: each declares its bounds or choices, and whether a resumed run may change it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, get_type_hints

T = TypeVar("T")
OnResume = Literal["keep", "warn", "change"]
"""What a resumed run may do with a setting: only `keep` its value, change it with a warning, or `change` it."""
MAX_WAIT_S = 2_000_000
"""The longest wait, 23 days: `poll` counts milliseconds in 31 bits."""
MAX_PROCESSES = 10_000
"""The most replicas, and the most ranks, of a run."""
MAX_COUNT = 1_000_000_000
"""The largest whole number of a setting without a bound of its own."""


@dataclass(frozen=True)
class Setting:
    """What a field declares. The bounds and choices of a list are those of its elements."""

    type: Any = None
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    choices: Iterable[str | int] = ()
    on_resume: OnResume | None = None
    """None: as the section declares, else `warn`"""
    path: bool = False
    """whether the value may be a path, in which `~` stands for the home directory"""

    @property
    def bounds(self) -> str:
        """Return the range in words, such as `of at least 1`, `from 0 to 1` or `above 0`; empty without bounds."""
        high = f"below {self.below:,}" if self.below is not None else f"{self.at_most:,}" if self.at_most is not None else ""
        if self.at_least is not None:
            return f"from {self.at_least:,} to {high}" if high else f"of at least {self.at_least:,}"
        if self.above is not None:
            return f"above {self.above:,}, at most {high}" if high else f"above {self.above:,}"
        return ""

    def remedy(self, value: Any) -> str:
        """Return what to give instead of `value`; empty if `value` is allowed."""
        many = isinstance(value, list | tuple)
        values = value if many else [value]
        if choices := list(self.choices):
            return "" if all(each in choices for each in values) else f"choose {' or '.join(map(str, choices))}"
        unbounded = self.at_most is None and self.below is None
        if unbounded and any(isinstance(each, int) and each > MAX_COUNT for each in values):
            return f"give {'numbers' if many else 'a number'} of at most {MAX_COUNT:,}"
        if not self.bounds or all(map(self._within, values)):
            return ""
        finite = "finite " if math.inf in values else ""
        return f"give {finite}numbers {self.bounds}" if many else f"give a {finite}number {self.bounds}"

    def _within(self, number: float) -> bool:
        """Whether `number` is finite and inside the bounds. NaN is not: all its comparisons are false."""
        return (
            -math.inf < number < math.inf
            and (self.at_least is None or number >= self.at_least)
            and (self.above is None or number > self.above)
            and (self.at_most is None or number <= self.at_most)
            and (self.below is None or number < self.below)
        )


def setting(
    default: T,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: Iterable[str | int] = (),
    on_resume: OnResume | None = None,
    path: bool = False,
) -> T:
    """Return a dataclass field with this default, which is copied, and what else it declares: see `Setting`."""
    metadata = {"setting": Setting(None, at_least, above, at_most, below, choices, on_resume, path)}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: deepcopy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def wait(default: float, *, on_resume: OnResume | None = None) -> float:
    """Return a dataclass field for a time in seconds, above 0."""
    return setting(default, above=0, at_most=MAX_WAIT_S, on_resume=on_resume)


def section(kind: type[T], *, on_resume: OnResume | None = None) -> T:
    """Return a dataclass field that holds a section. Its fields have this resume policy unless they declare another."""
    return field(default_factory=kind, metadata={"setting": Setting(on_resume=on_resume)})


def settings(kind: type, on_resume: OnResume = "warn") -> dict[str, Setting]:
    """Return all settings of a configuration class by their dotted keys, each with its type and resume policy."""
    types = get_type_hints(kind)
    by_key: dict[str, Setting] = {}
    for each in fields(kind):
        declared = each.metadata.get("setting", Setting())
        policy = declared.on_resume or on_resume
        if isinstance(inner := types[each.name], type) and is_dataclass(inner):
            by_key |= {f"{each.name}.{key}": value for key, value in settings(inner, policy).items()}
        else:
            by_key[each.name] = replace(declared, type=inner, on_resume=policy)
    return by_key
