"""Tests of the report, opened from disk in Chromium."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.report_page.page import report_page
from tandem.records.run_record import RunRecord, read_run
from tests.support.browser import chromium
from tests.support.run_folders import HOSTILE, PER_STEP, make_run

pytestmark = pytest.mark.seconds

Open = Callable[..., Any]
STEPS = 6


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def open_report(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Open the report of runs at one of its parts; a message in the console or a network request fails the test."""
    complaints: list[str] = []
    contexts = []

    def opened(*runs: RunRecord, part: str = "transcripts", **options: Any) -> Any:
        (file := tmp_path / "report.html").write_text(report_page(runs))
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 800}, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url) if request.url != page.url else None)
        page.goto(f"{file.as_uri()}#{part}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [text for text in complaints if not text.startswith("file:")] == []


@pytest.fixture
def run(tmp_path: Path) -> RunRecord:
    return read_run(make_run(tmp_path / "first", steps=STEPS, texts=HOSTILE))


def words(sample: dict[str, Any]) -> str:
    return "".join(turn["text"] for turn in sample["turns"])


def found(page: Any) -> int:
    """Return the number of rollouts in the list."""
    return int(page.text_content(".count").split(" of ")[0].replace(",", ""))


def seek(page: Any, text: str) -> None:
    page.fill("input[aria-label=Search]", text)


# Curves, tables


def test_every_metric_has_curve_with_values(open_report: Open, run: RunRecord) -> None:
    page = open_report(run, part="curves")
    keys = {key for row in run.metrics for key in row} - {"step", "weights/version", "solo/problems"}
    assert {figure.text_content() for figure in page.query_selector_all("figcaption > span")} == keys
    plot = page.locator("svg[aria-label='reward/mean over the steps']")
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 12, box["y"] + 50)
    assert page.text_content("#tip").startswith(f"step {STEPS}{run.metrics[-1]['reward/mean']:.3g}")


def test_runs_are_compared_in_one_report(open_report: Open, run: RunRecord, tmp_path: Path) -> None:
    other = read_run(make_run(tmp_path / "second", steps=3, seed=5))
    page = open_report(run, other, part="curves")
    plot = page.locator("svg[aria-label='reward/mean over the steps']")
    dashes = [curve.get_attribute("stroke-dasharray") for curve in plot.locator(".curve").all()]
    assert len(set(dashes)) == 2, "distinguishable without colors"
    page.click("text=Configuration")
    page.check("text=only what differs")
    assert [row.text_content() for row in page.query_selector_all(".configuration tbody th")] == ["name", "steps"]
    page.click("text=Transcripts")
    assert found(page) == len(run.samples) + len(other.samples)
    page.select_option("select[aria-label=Run]", label="second")
    assert found(page) == len(other.samples)


def test_evaluations_show_their_intervals(open_report: Open, run: RunRecord) -> None:
    page = open_report(run, part="evaluation")
    assert [cell.text_content() for cell in page.query_selector_all(".estimate")] == [
        "0.500 [0.451, 0.549]",
        "0.700 [0.653, 0.743]",
    ]


# Transcripts


def test_filters_select_rollouts(open_report: Open, run: RunRecord) -> None:
    page = open_report(run)
    assert found(page) == len(run.samples) == STEPS * PER_STEP + 4
    wrong = [sample for sample in run.samples if sample["verdict"] == "wrong"]
    page.select_option("select[aria-label=Verdict]", "wrong")
    assert found(page) == len(wrong) > 0
    page.check("text=truncated only")
    assert found(page) == sum(sample["end"] == "budget" for sample in wrong) > 0
    page.uncheck("text=truncated only")
    page.select_option("select[aria-label=Verdict]", "")
    page.fill("input[aria-label='Reward: from']", "0.5")
    assert found(page) == sum(sample["reward"] >= 0.5 for sample in run.samples)
    page.fill("input[aria-label='Reward: from']", "")
    page.select_option("select[aria-label=Step]", "3")
    assert found(page) == PER_STEP
    seek(page, "no such words")
    assert found(page) == 0 and page.is_visible("text=No rollout passes the filters")


def test_transcript_shows_authors_and_probabilities(open_report: Open, run: RunRecord) -> None:
    page = open_report(run)
    sample = run.samples[0]
    turns = [
        (turn.get_attribute("class").split()[1], turn.text_content()) for turn in page.query_selector_all(".transcript .turn")
    ]
    assert turns == [(turn["author"], turn["text"]) for turn in sample["turns"]]
    styles = page.evaluate(
        "['senior', 'junior'].map((author) => getComputedStyle(document.querySelector(`.turn.${author}`)).borderBottomStyle)"
    )
    assert styles == ["solid", "dashed"], "distinguishable without colors"
    letters = page.evaluate(
        "['senior', 'junior'].map((a) => getComputedStyle(document.querySelector(`.transcript .${a}`), '::before').content)"
    )
    assert letters == ['"S"', '"J"']
    page.hover(".transcript .token >> nth=0")
    first, tip = sample["turns"][0], page.text_content("#tip")
    assert first["tokens"][0] in tip and f"by the {first['author']}" in tip
    assert f"{first['logprobs'][0]:.3f}".replace("-", "−") in tip and f"{100 * math.exp(first['logprobs'][0]):.1f} %" in tip
    assert "not recorded" in tip


def test_scores_of_other_author_are_shown(open_report: Open, run: RunRecord) -> None:
    for sample in run.samples:
        for turn in sample["turns"]:
            turn["other_logprobs"] = [-3.25] * len(turn["tokens"])
    page = open_report(run)
    page.hover(".transcript .turn.junior .token >> nth=0")
    assert "final senior−3.250" in page.text_content("#tip")
    page.hover(".transcript .turn.senior .token >> nth=0")
    assert "junior−3.250" in page.text_content("#tip")


def test_transcript_shows_facts_and_group(open_report: Open, run: RunRecord) -> None:
    page = open_report(run)
    page.select_option("select[aria-label=Step]", "2")
    shown = [sample for sample in run.samples if sample["step"] == 2]
    chips = page.locator(".group button")
    assert chips.count() == PER_STEP
    chips.nth(3).click()
    assert page.get_attribute(".group button >> nth=3", "aria-pressed") == "true"
    facts = page.text_content(".facts")
    assert shown[3]["verdict"] in facts and "advantage+0.500" in facts
    assert page.text_content(".transcript") == words(shown[3])


def test_problem_is_shown_side_by_side_at_two_steps(open_report: Open, run: RunRecord) -> None:
    page = open_report(run)
    page.select_option("select[aria-label=Set]", "held_out")
    assert found(page) == 4
    page.click("text=before / after")
    held = [sample for sample in run.samples if sample["problem"] == "held/0"]
    assert [pane.text_content() for pane in page.query_selector_all(".transcript")] == [words(held[0]), words(held[1])]
    left, right = (pane.bounding_box() for pane in page.query_selector_all(".pane"))
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
    page.select_option("select[aria-label='Beside it']", "")
    assert len(page.query_selector_all(".pane")) == 1


def test_texts_of_models_are_shown_as_plain_text(open_report: Open, run: RunRecord) -> None:
    page = open_report(run)
    for text in HOSTILE:
        its = [sample for sample in run.samples if text in words(sample)]
        seek(page, text.replace("\x00", "").split("漢")[0])
        assert found(page) >= len(its) > 0
    page.select_option("select[aria-label=Set]", "training")
    seek(page, "<b>unclosed")
    assert "<b>unclosed" in page.text_content(".transcript") and not page.query_selector(".panes b")
    assert page.evaluate("window.broken") is None
    assert page.evaluate("document.scripts.length") == 2 and not page.query_selector("img")


def test_ten_thousand_rollouts_scroll(open_report: Open, tmp_path: Path) -> None:
    long = read_run(make_run(tmp_path / "long", steps=10_000 // PER_STEP))
    page = open_report(long)
    assert found(page) == len(long.samples) > 10_000
    assert len(page.query_selector_all(".row")) < 60, "only what is visible exists"
    page.evaluate("document.querySelector('.list').scrollTop = 1e9")
    last = page.locator(".row >> nth=-1")
    last.click()
    assert page.text_content(".transcript") == words(long.samples[-1])
    page.keyboard.press("ArrowUp")
    assert page.text_content(".transcript") == words(long.samples[-2])
    page.select_option("select[aria-label=Verdict]", "not_correct")
    assert found(page) == sum(sample["verdict"] != "correct" for sample in long.samples)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_are_legible_in_both_modes(open_report: Open, run: RunRecord, scheme: str) -> None:
    page = open_report(run, color_scheme=scheme)
    for author in ("senior", "junior"):
        ink, tint = page.evaluate(
            f"(s => [s.color, s.backgroundColor])(getComputedStyle(document.querySelector('.transcript .{author}')))"
        )
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert contrast(rgba(ink), over(rgba(tint), rgba(paper))) >= 4.5, "WCAG's AA"


def rgba(color: str) -> tuple[float, ...]:
    """Return the numbers of a CSS color, alpha last."""
    numbers = [float(number) for number in re.findall(r"[\d.]+", color)]
    return (*numbers[:3], numbers[3] if len(numbers) > 3 else 1.0)


def over(tint: tuple[float, ...], paper: tuple[float, ...]) -> tuple[float, ...]:
    """Return the color of a transparent color on an opaque one."""
    return tuple(tint[3] * t + (1 - tint[3]) * p for t, p in zip(tint[:3], paper[:3], strict=True))


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return WCAG's contrast ratio of two opaque colors."""

    def luminance(color: tuple[float, ...]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in color[:3])]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)
