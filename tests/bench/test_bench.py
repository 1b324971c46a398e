"""Tests of the sweep of bench.cogen without engines: axes, saved points, figure."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from bench.curves import LINES, PANELS, PICTURE, draw, redraw
from bench.engines import WritingTime
from bench.sweep import AXES, SWEPT, Axis, SweepPoint, load, point, save
from bench.workload import Workload
from tandem.cogeneration import Limits
from tandem.replay import replay
from tandem.schedule import Schedule

WORK = Workload(
    prompts=[(i,) for i in range(256)],
    tokens=64,
    schedule=Schedule(),
    boundaries=np.zeros(8, np.uint8),
    limits=Limits(64, 128, frozenset()),
    specs={},
)


def axis_named(name: str) -> Axis:
    return next(axis for axis in AXES if axis.name == name)


@pytest.fixture(scope="module")
def points() -> list[SweepPoint]:
    """The points of a sweep; each mode and value has another speed."""

    def run(mode: str, value: float) -> WritingTime:
        speed = 100.0 * (1 + SWEPT.index(mode)) + value
        return WritingTime(64, 4096, 128, 4096 / speed, 0.9, 0.8, 0.1)

    return [
        point(axis.name, value, mode, [run(mode, value)], 64, "tiny")
        for axis in AXES
        for value in axis.values
        for mode in SWEPT
    ]


def test_point_holds_medians_of_its_repeats() -> None:
    seconds = [4.0, 1.0, 2.0]
    found = point("rollouts", 8, "tandem", [WritingTime(8, 80, 12, s, s / 10, s / 20, s / 40) for s in seconds], 10, "tiny")
    assert (found.tokens_per_s, found.turns_per_s) == (40.0, 10.0)
    assert (found.busy_senior, found.busy_junior, found.busy_exchange) == (0.2, 0.1, 0.05)
    assert (found.rollouts, found.tokens_per_rollout, found.repeats) == (8, 10, 3)


def test_axes_vary_what_they_are_named_after() -> None:
    for axis in AXES:
        assert axis.rollouts <= len(WORK.prompts)
    rollouts, chunk_tokens, prob_senior = (axis_named(name) for name in PANELS)
    assert [len(rollouts.vary(WORK, n).prompts) for n in rollouts.values] == [8, 16, 32, 64, 128, 256]
    for n in chunk_tokens.values:
        mask = replay(chunk_tokens.vary(WORK, n).schedule, WORK.boundaries, 3, [0] * 640).authorship
        turns = np.diff(np.flatnonzero(np.diff(mask)))
        assert turns.min() == n < turns.max() and not (turns % int(n)).any()
    shares = [
        replay(prob_senior.vary(WORK, p).schedule, WORK.boundaries + 1, 3, [0] * 640).authorship.mean()
        for p in prob_senior.values
    ]
    assert shares[0] == 0 and shares[-1] == 1
    assert all(one < next_one for one, next_one in pairwise(shares))


def test_what_is_saved_can_be_loaded_and_drawn(points: list[SweepPoint], tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "results"
    assert save(points, folder).read_text().count("\n") == len(points) + 2
    assert load(folder) == points
    redraw(folder)
    with Image.open(folder / PICTURE) as picture:
        assert picture.width >= 1_600
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_every_mode_has_its_curve_in_every_panel(points: list[SweepPoint]) -> None:
    figure = draw(points)
    panels: list[Axes] = figure.axes
    assert set(LINES) == set(SWEPT)
    assert list(PANELS) == [axis.name for axis in AXES]
    assert [panel.get_xscale() for panel in panels] == ["log", "log", "linear"]
    assert panels[0].get_ylabel() == "tokens/s"
    for panel, axis in zip(panels, AXES, strict=True):
        assert panel.get_xlabel() == PANELS[axis.name]
        curves = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in panel.get_lines()}
        for mode in SWEPT:
            expected = [[p.value, p.tokens_per_s] for p in points if (p.axis, p.mode) == (axis.name, mode)]
            assert curves[LINES[mode]["label"]] == expected
