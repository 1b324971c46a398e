"""Read the preset of an experiment: arms, each a list of overrides of launch/train.py, seeds, evaluations and endpoints."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from launch.command_line import CONF, split_override
from launch.config_file import read_yaml
from launch.entry import TRAINING_ONLY, UNUSABLE, composition
from launch.evaluation.settings import check_evaluation
from launch.evaluation.training_measures import check_measures
from launch.experiments.evaluations import BASE, Evaluation
from launch.experiments.run_outcome import Run
from launch.explanations import explain
from launch.storage.places import check_writable, named_folder
from tandem.config.checks.run import PARTIAL
from tandem.config.checks.unused import DEFAULTS
from tandem.config.load import expand_home, load
from tandem.config.schema import Config, ConfigError
from tandem.measures.endpoints import CLAIMS, Endpoint
from tandem.measures.names import measures_of

PRESETS = CONF / "experiment_preset"
MOST_SEEDS = 10
FOLDER = "experiments"
"""The folder of experiments in the folder of runs."""
ARGUMENTS = {"preset": "", "seeds": "3", "arms": "", "name": "", "results": "docs/results"}
"""The arguments that are no settings of a run, with their defaults."""
PLACES = ("results", "log.dir", "cache_dir")
"""Arguments that name output folders."""
FIELDS = "docs/experiments.md lists the fields of a preset"
_NAME = re.compile(r"\w[\w.-]*")


@dataclass
class Preset:
    """A file of conf/experiment_preset/."""

    title: str = MISSING
    """the heading of the results"""
    overrides: list[str] = field(default_factory=list)
    """overrides of launch/train.py for every run"""
    arms: dict[str, list[str]] = MISSING
    """each arm's further overrides, by its name"""
    seeded: list[str] = field(default_factory=lambda: ["seed"])
    """the keys of launch/train.py that are set to the seed"""
    evaluations: dict[str, list[str]] = field(default_factory=dict)
    """overrides of launch/evaluate.py, by name: evaluations of each seed's base model and of every senior, after all runs"""
    endpoints: list[Endpoint] = field(default_factory=list)
    """the claims that these evaluations test"""


@dataclass(frozen=True)
class ExperimentRun(Run):
    """One run of an experiment."""

    arm: str
    seed: int


@dataclass(frozen=True)
class Experiment:
    """All runs of a comparison."""

    name: str
    title: str
    overrides: tuple[str, ...]
    """for every run; those of the command line come last"""
    arms: dict[str, list[str]]
    seeds: tuple[int, ...]
    runs: tuple[ExperimentRun, ...]
    """ordered by seed, so that every arm has run with one seed before the next seed starts"""
    evaluations: tuple[Evaluation, ...]
    """ordered by seed too"""
    endpoints: tuple[Endpoint, ...]
    """those whose arms are compared"""
    results: Path
    """the folder of the results"""
    command: str
    """the command line without `PLACES`"""

    @property
    def evaluation_minutes(self) -> float:
        """The minutes that the evaluations took, as far as they have finished."""
        return sum(evaluation.seconds for evaluation in self.evaluations) / 60

    @property
    def folder(self) -> Path:
        """The folder of the run folders."""
        return Path(self.runs[0].config.log.dir)


def parse_experiment(arguments: Sequence[str]) -> Experiment:
    """Return the experiment that `key=value` arguments describe.

    They are `preset`, `seeds` (their number), `arms` (of the preset or files of conf/algo), `name` (by default the preset's),
    `results` (a folder) and overrides of launch/train.py for every run. Raises `ConfigError` for the first invalid argument or
    arm.
    """
    settings, extra = dict(ARGUMENTS), []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise ConfigError(f"{argument}: give key=value, such as preset=jargon")
        if key in settings:
            settings[key] = value
        else:
            extra.append(argument)
    preset = read_preset(settings["preset"])
    name = settings["name"] or settings["preset"]
    if not _NAME.fullmatch(name):
        raise ConfigError(f"name={name}: it becomes a folder; give letters, digits, dots, dashes and underscores")
    arms = _chosen(settings["arms"], preset)
    for argument in extra:
        if (key := split_override(argument)[0].lstrip("+")) in preset.seeded:
            raise ConfigError(
                f"{argument}: every seed has a {key} of its own, from 1 up; leave it out, and say with seeds how many"
            )
    overrides, seeds = [*preset.overrides, *extra], _seeds(settings["seeds"])
    runs = list(_runs(name, overrides, arms, preset.seeded, seeds))
    evaluations = list(_evaluations(runs, extra, arms, preset))
    endpoints = tuple(endpoint for endpoint in preset.endpoints if set(endpoint.arms) <= set(arms))
    for endpoint in endpoints:
        _check_measured(endpoint, evaluations, f"{settings['preset']}.yaml")
    command = shlex.join(["python", "launch/experiment.py", *without_places(arguments)])
    results = Path(expand_home("results", settings["results"]))
    check_writable(results, f"results={settings['results']}")
    return Experiment(
        name, preset.title, tuple(overrides), arms, seeds, tuple(runs), tuple(evaluations), endpoints, results, command
    )


def without_places(arguments: Sequence[str]) -> list[str]:
    """Return the arguments that name no output folder: those that results may repeat on any machine."""
    return [argument for argument in arguments if split_override(argument)[0] not in PLACES]


def preset_titles() -> dict[str, str]:
    """Return the title of each preset by its name."""
    return {name: read_preset(name).title for name in preset_names()}


def read_preset(name: str) -> Preset:
    """Return the preset `name`. Raises `ConfigError` if it does not exist or has other fields than `Preset`."""
    known = preset_names()
    if name not in known:
        raise ConfigError(f"preset={name}: choose {' or '.join(known)}")
    path = PRESETS / f"{name}.yaml"
    content = read_yaml(path, path.name)
    try:
        preset = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Preset), content))
    except OmegaConfBaseException as error:
        where = f"{error.full_key}: " if error.full_key else ""
        raise ConfigError(f"{path.name}: {where}{str(error).splitlines()[0]}; {FIELDS}") from error
    assert isinstance(preset, Preset)
    if not preset.arms:
        raise ConfigError(f"{path.name}: arms: name at least one; {FIELDS}")
    for endpoint in preset.endpoints:
        _check_endpoint(endpoint, preset, path.name)
    for field_name in ("arms", "evaluations"):
        if wrong := [name for name in getattr(preset, field_name) if not _NAME.fullmatch(name)]:
            raise ConfigError(
                f"{path.name}: {field_name}={wrong}: they name folders; give letters, digits, dots, dashes, underscores"
            )
    return preset


def preset_names() -> list[str]:
    """Return the names of all presets."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def _check_endpoint(endpoint: Endpoint, preset: Preset, file: str) -> None:
    """Raise `ConfigError` for an endpoint that names no evaluation or arms of the preset, or makes no claim."""
    key = f"{file}: endpoints: {endpoint.name}"
    if endpoint.evaluation not in preset.evaluations:
        raise ConfigError(f"{key}: evaluation={endpoint.evaluation}: choose among {', '.join(preset.evaluations) or 'none'}")
    if len(endpoint.arms) != 2 or len(set(endpoint.arms) & set(preset.arms)) != 2:
        raise ConfigError(f"{key}: arms={endpoint.arms}: name two different ones of {', '.join(preset.arms)}")
    if endpoint.claim not in CLAIMS:
        raise ConfigError(f"{key}: claim={endpoint.claim}: choose {', '.join(CLAIMS)}")
    if (endpoint.claim == "equal") != (endpoint.margin > 0) or not endpoint.measures:
        raise ConfigError(f"{key}: margin={endpoint.margin:g}: give measures, and a margin above 0 with claim=equal alone")


def _check_measured(endpoint: Endpoint, evaluations: Sequence[Evaluation], file: str) -> None:
    """Raise `ConfigError` for an endpoint with a measure that its evaluation does not take."""
    evaluation = next(each for each in evaluations if each.name == endpoint.evaluation)
    known = measures_of(evaluation.config)
    if unknown := [measure for measure in endpoint.measures if measure not in known]:
        raise ConfigError(
            f"{file}: endpoints: {endpoint.name}: measures={unknown}: the evaluation {evaluation.name} does not take them; "
            f"choose among {', '.join(known)}, or have them taken (eval.measures, eval.pass_at, eval.handoff)"
        )


def _chosen(arms: str, preset: Preset) -> dict[str, list[str]]:
    """Return the overrides of the named arms; those of all arms of the preset if `arms` is empty."""
    algorithms = {path.stem: [f"algo={path.stem}"] for path in (CONF / "algo").glob("*.yaml")}
    known = algorithms | preset.arms
    names = [name.strip() for name in arms.strip("[]").split(",") if name.strip()] or list(preset.arms)
    for name in names:
        if name not in known:
            raise ConfigError(f"arms={arms}: there is no arm {name}; choose among {', '.join(known)}")
    return {name: known[name] for name in names}


def _seeds(count: str) -> tuple[int, ...]:
    if not count.isdecimal() or not 1 <= int(count) <= MOST_SEEDS:
        raise ConfigError(f"seeds={count}: give a number from 1 to {MOST_SEEDS}")
    return tuple(range(1, int(count) + 1))


def _configuration(overrides: Sequence[str], seeded: Sequence[str], seed: int) -> Config:
    """Return the configuration for `overrides` with `seed` as the value of the keys `seeded`."""
    config = _composition((*overrides, *(f"{key}=1" for key in seeded)))
    for key in seeded:  # in place, since every call sets them all
        OmegaConf.update(config, key, seed)
    return load(config)


@cache
def _composition(overrides: tuple[str, ...]) -> DictConfig:
    """Return the composition for `overrides`, which Hydra takes long to make."""
    return composition(overrides)


def _runs(
    name: str, overrides: Sequence[str], arms: dict[str, list[str]], seeded: Sequence[str], seeds: Sequence[int]
) -> Iterator[ExperimentRun]:
    """Yield all runs. Raises `ConfigError` for the first arm with an invalid configuration."""
    for seed in seeds:
        for arm, arm_overrides in arms.items():
            try:
                config = _configuration([*overrides, *arm_overrides], seeded, seed)
                check_measures(config)
            except UNUSABLE as error:
                raise ConfigError(f"arm {arm}: {explain(error)}") from error
            if config.name or config.resume or not config.log.export:
                raise ConfigError(f"arm {arm}: name, resume and log.export are the experiment's own; leave them out")
            for key in PARTIAL:
                if value := getattr(config, key):
                    raise ConfigError(f"arm {arm}: {key}={value}: an experiment trains every run whole; leave it out")
            folder = named_folder(config, f"{FOLDER}/{name}")
            log = replace(config.log, dir=str(folder))
            yield ExperimentRun(replace(config, name=f"{arm}-seed{seed}", resume="auto", log=log), arm, seed)


def _evaluations(
    runs: Sequence[ExperimentRun], extra: Sequence[str], arms: dict[str, list[str]], preset: Preset
) -> Iterator[Evaluation]:
    """Yield all evaluations, of a seed's base model first. Raises `ConfigError` for the first invalid one.

    They ignore the preset's `eval` settings, which are for the evaluation during training, a choice `eval=NAME` in `extra`, and
    what only training takes.
    """
    trained = [override for override in preset.overrides if not override.startswith(("eval=", "eval."))]
    extra = [override for override in extra if not override.startswith("eval=")]
    for name, evaluation in preset.evaluations.items():
        seen: set[int] = set()
        for run in runs:
            try:
                config = _configuration([*trained, *arms[run.arm], *evaluation, *extra], preset.seeded, run.seed)
                config = replace(config, **{key: getattr(DEFAULTS, key) for key in TRAINING_ONLY})
                _check_evaluable(config)
            except UNUSABLE as error:
                raise ConfigError(f"evaluation {name}: {explain(error)}") from error
            config = replace(config, log=run.config.log)
            if run.seed not in seen:
                seen.add(run.seed)
                yield Evaluation(name, BASE, run.seed, replace(config, name=f"{BASE}-seed{run.seed}/{name}"))
            yield Evaluation(name, run.arm, run.seed, replace(config, name=name, senior=str(run.path)))


def _check_evaluable(config: Config) -> None:
    """Raise `ConfigError` for settings with which no senior could be evaluated after its run."""
    check_evaluation(config)
    if config.learner.lora.rank and not config.learner.lora.merged_export:
        raise ConfigError("learner.lora.merged_export=False: an adapter alone cannot be evaluated; leave it out")
