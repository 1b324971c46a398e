"""Start of every entry point: the environment, the composed configuration, and a message instead of a traceback for a
user's mistake."""

from __future__ import annotations

import os
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import NoReturn

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from launch.cluster.environment import set_environment
from launch.command_line import CONF, literal_overrides
from launch.config_file import composing, with_config_files
from launch.explanations import check_options, explain
from launch.help import Program, asks_for_help, print_help
from launch.storage.disk import UnwritableError
from launch.storage.places import check_writable
from tandem.config.black_box import black_box
from tandem.config.load import load, schema
from tandem.config.schema import Config, ConfigError
from tandem.runtime.disk import disk_full
from tandem.runtime.errors import RunError, plain_error
from tandem.runtime.exit_status import BAD_INPUT, FAILED, INTERRUPTED, TERMINATED, UNWRITABLE

UNUSABLE = (ConfigError, HydraException, OmegaConfBaseException)
"""The errors for a configuration or data that cannot be used."""
TRAINING_ONLY = ("resume", "plan_only", "rollouts_only", "learner_only", "profile")
"""The settings that only launch/train.py takes."""
OWN_SETTINGS = {"launch/train.py": TRAINING_ONLY, "launch/serve.py": ("speculative",)}
"""The settings that only one program takes, by program."""


def use_cache(config: Config) -> None:
    """Set the environment for a run with this cache folder. Raises `ConfigError` when the folder cannot be written to."""
    if not config.plan_only:
        check_writable(config.cache_path, f"cache_dir={config.cache_dir} (or the environment variable TANDEM_CACHE)")
    set_environment(config.cache_path)


Amend = Callable[[DictConfig, list[str]], DictConfig]
"""Returns other settings, given those composed and the command line's overrides."""
Sweep = Callable[[list[str]], None]
"""Runs every combination of settings that the command line's overrides name."""


def _flush() -> None:
    """Write what stdout has buffered. Exit if the program that reads it has ended, as `head` does."""
    if sys.stdout is None:  # closed when this process started
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)


def _refuse_sweep(overrides: list[str]) -> None:
    """Refuse --multirun for a program that does not sweep."""
    raise ConfigError("--multirun: only launch/train.py sweeps; leave it out, and give every key one value")


def main(
    about: Program,
    run: Callable[[Config], None],
    amend: Amend = lambda composed, overrides: composed,
    sweep: Sweep = _refuse_sweep,
) -> None:
    """Compose the configuration from conf/, files of the user and the command line, amend and check it, and call `run` with it.

    With --help, print what `about` says instead. With --multirun, call `sweep` with the overrides. Exit as `exit_codes`
    describes.
    """
    _store_schema()
    with exit_codes():
        if asks_for_help(sys.argv[1:]):
            print_help(about, sys.argv[1:])
            return
        given = with_config_files(sys.argv[1:])
        check_options(given)
        options = _parsed(given)
        printing = options.cfg or options.info or options.shell_completion
        if options.multirun and printing:
            raise ConfigError("--multirun: give it without --cfg, --info and --shell-completion; plan_only=true shows the runs")
        if options.multirun:
            sweep(literal_overrides(options.overrides, sweep=True))
        elif printing:
            _print_by_hydra([each for each in given if each not in options.overrides], options.overrides)
        else:
            config = load(amend(composition(options.overrides), options.overrides))
            use_cache(config)
            run(config)


def _parsed(arguments: Sequence[str]) -> Namespace:
    """Return Hydra's options and the overrides, in any order. Raises `ConfigError` for an option without its value."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message}; --help lists the options")

    parser.error = refuse
    return parser.parse_intermixed_args(arguments)


def _print_by_hydra(options: Sequence[str], overrides: Sequence[str]) -> None:
    """Let Hydra print what its `options` ask for."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise it prints its own trace and exits with 1
    saved_argv, sys.argv = sys.argv, [sys.argv[0], *options, *literal_overrides(overrides)]
    try:
        with composing():
            hydra.main(version_base=None, config_path=str(CONF), config_name="config")(lambda composed: None)()
    finally:
        sys.argv = saved_argv


class Terminated(KeyboardInterrupt):
    """SIGTERM, with which Ray, Slurm and Kubernetes stop a job. Its text, if any, is where the run ended and how to resume."""


_terminated = threading.Event()
"""Set once `terminate` is called in the current block of `exit_codes`."""


def terminate(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM: raise `Terminated` and record the signal, because Ray turns an exception raised while it waits into a
    plain `KeyboardInterrupt`."""
    _terminated.set()
    raise Terminated


@contextmanager
def exit_codes() -> Iterator[None]:
    """Exit with a message instead of a traceback: with 1 after a `RunError`, with 2 when configuration or data cannot be used,
    with 3 when the disk refuses the results, with 130 after Ctrl-C and with 143 after SIGTERM."""
    _terminated.clear()
    signal.signal(signal.SIGTERM, terminate)
    for stream in (sys.stdout, sys.stderr):  # its encoding may lack the characters of a table
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    program = Path(sys.argv[0]).name
    try:
        yield
        _flush()
    except UNUSABLE as error:
        print(f"{program}: {explain(plain_error(error) or error, sys.argv[1:])}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except RunError as error:
        plain = plain_error(error) or error
        print(f"{program}: {plain}", file=sys.stderr)
        sys.exit(BAD_INPUT if isinstance(plain, ConfigError) else FAILED)
    except UnwritableError as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(UNWRITABLE)
    except BrokenPipeError:
        _flush()  # exits if it is this process's output; otherwise it is, for example, a connection to an actor
        raise
    except OSError as error:
        if not disk_full(error):
            raise
        print(f"{program}: {error}: the disk is full; free space, and start again", file=sys.stderr)
        sys.exit(UNWRITABLE)
    except KeyboardInterrupt as stop:
        print(f"Interrupted{f' {stop}' if str(stop) else ''}", file=sys.stderr)
        sys.exit(TERMINATED if isinstance(stop, Terminated) or _terminated.is_set() else INTERRUPTED)


@cache
def _store_schema() -> None:
    """Store the schema where Hydra finds it, once: storing takes a copy."""
    ConfigStore.instance().store(name="schema", node=schema())


def configuration(overrides: Sequence[str]) -> Config:
    """Return the configuration for `overrides` on the command line of an entry point.

    Raises `ConfigError`, or Hydra's errors for overrides that it cannot read.
    """
    return load(composition(overrides))


def composition(overrides: Sequence[str]) -> DictConfig:
    """Return what `configuration` loads. Raises as it does."""
    _store_schema()
    quoted = literal_overrides(with_config_files(overrides))
    with initialize_config_dir(str(CONF), version_base=None), composing():
        return compose("config", quoted)


def check_own_settings(config: Config, program: str) -> None:
    """Raise `ConfigError` for a setting that only another program than `program` takes."""
    for owner, keys in OWN_SETTINGS.items():
        for key in keys:
            if owner != program and (value := getattr(config, key)):
                raise ConfigError(f"{key}={value}: only {owner} takes this; leave it out")
    if program != "launch/evaluate.py" and black_box(config):
        raise ConfigError(
            f"junior={config.junior}: only launch/evaluate.py takes a junior behind an API; name one whose weights are on disk"
        )
