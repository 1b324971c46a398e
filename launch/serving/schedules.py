"""The schedules under which the models of the API write."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from launch.serving.errors import bad_request
from tandem.authors import Authors
from tandem.config.checks.unused import unused_schedule_errors
from tandem.config.checks.values import value_errors
from tandem.config.rollout import ScheduleConfig
from tandem.config.schema import Config
from tandem.schedule import (
    JUNIOR_ALONE,
    SCHEDULES,
    SOLO,
    Schedule,
    annealed_prob_senior,
    boundary_rule,
    boundary_table,
    unannealed_schedule,
)

SENIOR_MODEL, JUNIOR_MODEL, TEAM = "senior", "junior", "team"
MODELS = (SENIOR_MODEL, JUNIOR_MODEL, TEAM)
_SETTINGS = ("name", "prob_senior", "max_gap_tokens", "chunk_tokens", "alternates")
"""The settings of a schedule that a request may give: all but those of a run's course."""
_READER = TypeAdapter(ScheduleConfig)


def served_models(config: Config) -> tuple[str, ...]:
    """Return the models of a server: only the senior if its junior drafts for it."""
    return (SENIOR_MODEL,) if config.speculative else MODELS


class Schedules:
    """The schedule of each model, and of the settings that a request for `team` gives."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._names = [schedule.name for schedule in config.eval.handoff]

    def of(self, model: str, requested: str | dict[str, Any] | None) -> Schedule:
        """Return the schedule of a request for `model` with the field `schedule`. Raises `ApiError`."""
        if model not in (served := served_models(self._config)):
            remedy = f"choose {' or '.join(served)}"
            if model in MODELS:
                remedy += f", or start the server without speculative={self._config.speculative}"
            raise bad_request(f"model: there is no model {model!r:.40}; {remedy}", "model", "model_not_found")
        if model != TEAM:
            if requested is not None:
                raise bad_request(f"schedule: only the model {TEAM} takes it; leave it out", "schedule")
            return SOLO if model == SENIOR_MODEL else JUNIOR_ALONE
        settings = self._settings({"name": requested} if isinstance(requested, str) else requested or {})
        return unannealed_schedule(settings)

    def _settings(self, requested: dict[str, Any]) -> ScheduleConfig:
        """Return the settings `requested`, with the server's for the same schedule, or defaults. Raises `ApiError`."""
        for key in requested.keys() - set(_SETTINGS):
            raise bad_request(f"schedule.{key:.40}: there is no such setting; choose {' or '.join(_SETTINGS)}", "schedule")
        server = self._config.schedule
        settings = server if requested.get("name", server.name) == server.name else ScheduleConfig(name="")
        try:
            settings = _READER.validate_json(json.dumps({**vars(settings), **requested}), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(("schedule", *map(str, first["loc"])))
            raise bad_request(f"{place}: {first['msg']}", "schedule") from error
        if settings.name not in self._names:
            raise bad_request(f"schedule.name={settings.name:.40}: choose {' or '.join(self._names)}", "schedule")
        for line in [*value_errors(settings, "schedule."), *unused_schedule_errors(settings, "schedule.")]:
            raise bad_request(line, "schedule")
        return settings


def with_schedules(config: Config, authors: Authors) -> Config:
    """Return `config` with the schedule of `team` as at the end of training, and in `eval.handoff` all that a request may name.

    A request may name a schedule whose boundaries the vocabulary allows and, if a junior's text is translated, whose boundaries
    are those of the run's schedule. If the run's schedule is `solo`, `team` writes under the first of them.
    """
    usable = []
    for name, known in SCHEDULES.items():
        settings = ScheduleConfig(name=name)
        if config.junior_translation and known.boundary != SCHEDULES[config.schedule.name].boundary:
            continue
        with suppress(ValueError):
            boundary_table(authors.tokenizer, boundary_rule(config, settings), authors.vocabulary)
            usable.append(settings)
    own = config.schedule
    if own.name == "solo":
        own = usable[0]
    prob_senior = annealed_prob_senior(own, config.steps, config.steps)
    own = replace(own, prob_senior=prob_senior, anneal="constant", prob_senior_end=ScheduleConfig().prob_senior_end)
    return replace(config, schedule=own, eval=replace(config.eval, measures=["solo", "handoff"], handoff=usable))
