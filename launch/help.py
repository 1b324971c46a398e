"""The text of --help: what a program does, its settings with their documentation, the groups, examples."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from launch.explanations import explain_unknown, group_files
from launch.terminal import terminal_console
from tandem.config.documentation import Field, allowed, documented
from tandem.config.schema import SETTINGS, Config, ConfigError

OPTIONS = (
    ("--config FILE", "a YAML file of your own: its settings win over the defaults, and the command line wins over them"),
    ("--help [KEY ...]", "this text, or the documentation of settings and sections such as learner or data.path"),
)
"""The options of every program with settings."""
CFG = ("--cfg job", "print all settings and start nothing")
"""The option of the programs that compose one configuration."""
HIDDEN = ("pairing", "experiment", "experiment_preset")
"""Groups that other settings choose, or that only one program takes."""


@dataclass(frozen=True)
class Program:
    """The help of one program, beside what all programs share."""

    file: str
    """such as launch/train.py"""
    about: str
    common: tuple[str, ...]
    """the keys of the settings that are shown"""
    examples: tuple[str, ...]
    """arguments"""
    options: tuple[tuple[str, str], ...] = (CFG,)
    """options beside `OPTIONS`, each with its meaning"""
    own: tuple[tuple[str, dict[str, str]], ...] = ()
    """tables of arguments that only this program takes: a title, and each argument with its meaning"""


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether the command line has --help or -h."""
    return "--help" in arguments or "-h" in arguments


def print_help(program: Program, arguments: Sequence[str]) -> None:
    """Print the help, or the documentation of the settings and sections that `arguments` name.

    Raises `ConfigError` for a name that is neither.
    """
    console = terminal_console()
    fields = dict(documented(Config))
    values = {index + 1 for index, each in enumerate(arguments) if each in ("--config", "--cfg", "-c", "--package", "-p")}
    asked = [each for index, each in enumerate(arguments) if index not in values and "=" not in each and each[:1] != "-"]
    if asked:
        console.print(_settings({key: field for name in asked for key, field in _named(fields, name).items()}))
        return
    console.print(program.about, soft_wrap=False)
    console.print(f"\nusage: python {program.file} [OPTION ...] [GROUP=NAME ...] [KEY=VALUE ...]")
    for title, rows in program.own:
        console.print(f"\n{title}", style="bold")
        console.print(_rows(rows.items()))
    console.print("\nThe settings that are needed most", style="bold")
    console.print(_settings({key: fields[key] for key in program.common}))
    console.print("\nGroups: GROUP=NAME takes the settings of conf/GROUP/NAME.yaml", style="bold")
    console.print(_rows((group, ", ".join(names)) for group, names in group_files().items() if group not in HIDDEN))
    console.print("\nOptions", style="bold")
    console.print(_rows([*OPTIONS, *program.options]))
    console.print("\nExamples", style="bold")
    for example in program.examples:
        console.print(f"  python {program.file} {example}", soft_wrap=True)
    console.print(
        f"\nAll {len(SETTINGS)} settings: docs/reference/configuration.md. How they fit together: docs/configuration.md."
    )


def _named(fields: dict[str, Field], name: str) -> dict[str, Field]:
    """Return the settings that a key or a section names."""
    matches = {key: field for key, field in fields.items() if key == name or key.startswith(f"{name}.")}
    if not matches:
        raise ConfigError(f"--help {explain_unknown(name)}")
    return matches


def _settings(fields: dict[str, Field]) -> Table:
    """Return a table of settings: the key with its default, and what it means."""
    return _rows((f"{key}={_typed(field.default)}", _meaning(key, field)) for key, field in fields.items())


def _typed(default: str) -> str:
    """Return a default of the source as one types it on the command line."""
    try:
        value = literal_eval(default)
    except (SyntaxError, ValueError):  # empty or computed
        return default
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list():
            return f"[{','.join(map(str, value))}]"
        case _:
            return str(value)


def _meaning(key: str, field: Field) -> str:
    return "; ".join(filter(None, (field.meaning, allowed(SETTINGS[key])))).replace("`", "")


def _rows(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 2))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column()
    for name, meaning in rows:
        table.add_row(Text(name), Text(meaning))
    return table
