"""launch/write.py: what it refuses, and a text on a real engine, written in Chromium."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from actors.person_actor import PersonActor
from launch.write import settings
from launch.writing.folder import WritingFolder
from launch.writing.program import model_specs, write
from tandem.authors import Authors
from tandem.config.rollout import ScheduleConfig
from tandem.config.schema import Config, ConfigError
from tandem.data.problems import load_problems
from tandem.person import BY_HAND
from tandem.records.run_record import read_run
from tandem.records.transcript import Transcript
from tandem.replay import replay
from tandem.rollout import JUNIOR, SENIOR
from tests.support.browser import chromium
from tests.support.builders import admission
from tests.support.engine_pair import EnginePair
from tests.support.scripted_model import served_page
from tests.support.server import running_server


@pytest.mark.parametrize("host", ["0.0.0.0", "example.org"])
def test_page_is_for_this_machine_alone(config: Config, host: str) -> None:
    with pytest.raises(ConfigError, match=rf"^serve.host={host}: .*this machine alone; leave it out, or give 127.0.0.1"):
        write(replace(config, serve=replace(config.serve, host=host)))


def test_page_is_not_for_cluster(config: Config) -> None:
    with pytest.raises(ConfigError, match=r"^mode.name=cluster: the page .* for this machine alone; leave it out"):
        write(replace(config, mode=replace(config.mode, name="cluster")))


def test_senior_writes_with_one_junior_that_reads_its_tokens(config: Config, foreign_authors: Authors) -> None:
    paths = [str(junior.path) for junior in foreign_authors.juniors]
    two = replace(config, role="senior", junior=paths, junior_translation=True, serve=replace(config.serve, port=0))
    with pytest.raises(ConfigError, match=r"^junior=.*: role=senior writes with one junior; name one"):
        write(two)
    with pytest.raises(ConfigError, match=r"^junior=.*: its tokenizer is not the senior's; role=senior needs"):
        write(replace(two, junior=paths[:1]))


def test_folder_of_run_is_not_written_to(config: Config, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "metrics.jsonl").touch()
    with pytest.raises(ConfigError, match=r"^name=first: .* holds a run, or other texts; choose another name"):
        WritingFolder(replace(config, name="first", log=replace(config.log, dir=str(tmp_path))))


def test_pen_passes_after_each_step_unless_schedule_is_named() -> None:
    composed = OmegaConf.structured(Config())
    assert settings(composed.copy(), ["role=senior"]).schedule.name == "step"
    assert settings(composed.copy(), ["role=senior"]).schedule.alternates
    assert settings(composed.copy(), ["schedule=word"]).schedule == composed.schedule


def replays(kept: Transcript, authors: Authors) -> bool:
    """Whether the tokens of a kept text imply its authors."""
    ids = [token for turn in kept["turns"] for token in turn["token_ids"]]
    mask = [int(turn["author"] == "senior") for turn in kept["turns"] for _ in turn["token_ids"]]
    breaks = [at in kept["breaks"] for at in range(len(ids))]
    return replay(BY_HAND, authors.boundaries, kept["seed"], ids, breaks).authorship.tolist() == mask


@pytest.mark.parametrize(("person", "author"), [(JUNIOR, SENIOR), (SENIOR, JUNIOR)])
def test_engine_is_that_of_the_other_author(config: Config, foreign_authors: Authors, person: int, author: int) -> None:
    (spec,) = model_specs(config, foreign_authors, person)
    path = foreign_authors.juniors[0].path if author == JUNIOR else foreign_authors.senior
    assert (spec.author, spec.junior, spec.model) == (author, 0, str(path))
    assert spec.stream_interval == 1 and spec.cores == tuple(sorted(os.sched_getaffinity(0)))


def write_as_senior(browser: Any, url: str) -> None:
    """Write the first step of a text as the senior, let the junior write, and end the text."""
    page = browser.new_page()
    page.goto(url)
    page.click("#begin")
    page.wait_for_selector("#status:has-text('Your turn')")
    page.fill("#step", "Take 1: 2 - 1 = 1.")
    page.keyboard.press("Enter")
    page.wait_for_selector("#text .turn.junior")
    page.wait_for_selector("#status:has-text('Your turn'), #end:has-text('answer')")
    if page.is_enabled("#finish"):
        page.fill("#step", "The answer is \\boxed{1}.")
        page.click("#finish")
    page.wait_for_selector("#end >> text=shows it")


def assert_written_as_senior(folder: Path, authors: Authors) -> None:
    """Check the text that `write_as_senior` wrote."""
    (kept,) = read_run(folder).samples
    assert [turn["author"] for turn in kept["turns"]][:2] == ["senior", "junior"] and kept["person"] == "senior"
    assert kept["turns"][0]["text"] == "Take 1: 2 - 1 = 1.\n"
    assert {None} == set(kept["turns"][0]["logprobs"]) and None not in kept["turns"][1]["logprobs"]
    assert replays(kept, authors)


def test_person_writes_as_the_senior_with_a_junior(
    config: Config, authors: Authors, engines: EnginePair, tmp_path: Path
) -> None:
    """The junior's engine is that of the session."""
    step = ScheduleConfig(name="step", alternates=True)
    written = replace(config, name="texts", schedule=step, log=replace(config.log, dir=str(tmp_path)))
    actor = PersonActor(model_specs(written, authors, SENIOR))
    actor._engines[JUNIOR, 0], actor.admissions[JUNIOR, 0] = engines.actor._engines[JUNIOR, 0], admission(8)
    (problem,) = load_problems(config.data, config.seed, authors.tokenizer).held_out(1)
    with chromium() as browser, served_page(written, authors, actor, problem, engines.loop, person=SENIOR) as served:
        write_as_senior(browser, served.url)
    assert_written_as_senior(tmp_path / "texts", authors)


@pytest.mark.slow
@pytest.mark.engines
def test_program_starts_the_juniors_engine_for_a_senior(authors: Authors, tmp_path: Path) -> None:
    with chromium() as browser, running_server(tmp_path, "name=texts", "role=senior", program="launch/write.py") as server:
        write_as_senior(browser, server.url)
    assert_written_as_senior(tmp_path / "texts", authors)


@pytest.mark.engines
def test_text_on_real_engine_is_written_judged_and_kept(authors: Authors, tmp_path: Path) -> None:
    complaints: list[str] = []
    with chromium() as browser, running_server(tmp_path, "name=texts", program="launch/write.py") as server:
        page = browser.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(server.url)
        page.click("#begin")
        page.wait_for_selector("#status:has-text('Your turn')")
        page.fill("#step", "Take 1: 2 - 1 = 1.")
        page.keyboard.press("Enter")
        page.locator("#text .turn").nth(2).wait_for()
        page.keyboard.press("Escape")
        page.wait_for_selector("#status:has-text('Your turn'), #end:has-text('answer')")
        if page.is_enabled("#finish"):
            page.fill("#step", "The answer is \\boxed{1}.")
            page.click("#finish")
        page.wait_for_selector("#end >> text=shows it")
        page.click("#begin")
        page.wait_for_selector("#status:has-text('Your turn')")
        assert server.stop() == 143
        page.wait_for_selector("#status:has-text('the program has ended')")
    printed = (tmp_path / "server.log").read_text()
    assert "Traceback" not in printed and "ERROR" not in printed
    assert f"Interrupted after 1 texts. Show them: python launch/report.py {tmp_path / 'texts'}" in printed
    assert complaints == []
    (kept,) = read_run(tmp_path / "texts").samples
    assert [turn["author"] for turn in kept["turns"]][:3] == ["senior", "junior", "senior"]
    assert kept["turns"][1]["text"] == "Take 1: 2 - 1 = 1.\n"
    assert replays(kept, authors)
