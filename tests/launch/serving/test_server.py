"""What the server refuses before it starts engines, and the schedules that it knows."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from launch.serving.schedules import with_schedules
from launch.serving.server import serve
from tandem.authors import Authors
from tandem.config.rollout import ScheduleConfig
from tandem.config.schema import Config, ConfigError
from tandem.schedule import SCHEDULES


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_address_of_other_machines_needs_a_key(config: Config, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TANDEM_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=rf"^serve.host={host}: other machines .* TANDEM_API_KEY, or serve 127.0.0.1"):
        serve(replace(config, serve=replace(config.serve, host=host)))


def test_used_port_is_refused(config: Config) -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"serve.port={port}: the address cannot be used \(.*choose another"):
            serve(replace(config, serve=replace(config.serve, port=port)))


def test_team_writes_as_at_the_end_of_the_run(config: Config, authors: Authors) -> None:
    annealed = replace(config, schedule=ScheduleConfig(prob_senior=0.2, prob_senior_end=0.9, anneal="linear"))
    served = with_schedules(annealed, authors)
    assert served.schedule.prob_senior == pytest.approx(0.9)
    assert replace(served.schedule, prob_senior=0.5) == ScheduleConfig()
    assert [schedule.name for schedule in served.eval.handoff] == [*SCHEDULES]
    assert with_schedules(replace(config, schedule=ScheduleConfig(name="solo")), authors).schedule.name == "word"


def test_schedules_without_boundaries_are_left_out(config: Config, authors: Authors) -> None:
    paragraphs = replace(config, model=replace(config.model, step_boundary="paragraph"))
    names = [schedule.name for schedule in with_schedules(paragraphs, authors).eval.handoff]
    assert names == [name for name in SCHEDULES if name != "step"]


def test_translated_junior_leaves_schedules_of_its_unit(config: Config, authors: Authors) -> None:
    served = with_schedules(replace(config, junior_translation=True), authors)
    assert [schedule.name for schedule in served.eval.handoff] == ["word", "alternate"]
