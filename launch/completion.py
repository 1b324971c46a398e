"""Completion of the command `tandem` in a shell: programs, settings, groups and choices; paths are the shell's own."""

from __future__ import annotations

import os
import re
import runpy
import sys
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path

from launch.cli import PROGRAMS

SCRIPT = """\
_tandem() {
    local choice
    COMPREPLY=()
    while IFS= read -r choice; do
        [ -n "$choice" ] && COMPREPLY+=("$choice")
    done < <("$1" completion "$COMP_LINE" "$COMP_POINT" "$COMP_WORDBREAKS" 2>/dev/null)
    case "${COMPREPLY[0]}" in *=|*.) compopt -o nospace 2>/dev/null ;; esac
}
complete -o default -F _tandem tandem"""
"""Complete the command in bash, which evaluates this; zsh does too, after its `bashcompinit`."""
WITH_SETTINGS = ("train", "evaluate", "serve", "write", "difficulty", "experiment")
"""The programs that take settings; arguments of the others are files."""
_QUOTES = re.compile(r"['\"\\\\]")


def choices(line: str, point: str, breaks: str) -> list[str]:
    """Return the possible completions of the word before column `point` of the command line `line`.

    The shell keeps what is in the word up to the last character of `breaks`, so that this part is left out. If nothing is
    returned, the shell completes file names.
    """
    *before, word = line[: int(point)].split(" ")
    typed = [each for each in before if each]
    if len(typed) < 2:
        candidates = list(PROGRAMS)
    elif typed[1] not in WITH_SETTINGS or _QUOTES.search(word) or "/" in word or typed[-1] == "--config":
        return []
    else:
        candidates = _of_experiment() * (typed[1] == "experiment") + _of_settings(typed[1], word)
    start = max((word.rfind(each) for each in breaks), default=-1) + 1
    return sorted({choice[start:] for choice in candidates if choice.startswith(word)})


def _of_experiment() -> list[str]:
    from launch.experiments.preset import ARGUMENTS, preset_names  # imports Hydra, which only settings need

    return [*(f"{name}=" for name in ARGUMENTS), *(f"preset={name}" for name in preset_names())]


def _of_settings(program: str, word: str) -> list[str]:
    """Return Hydra's completions of `word`, which depend on no other word."""
    script = str(Path(__file__).with_name("train.py" if program == "experiment" else f"{program}.py"))
    os.environ["COMP_LINE"] = f"tandem {word}"
    sys.argv = [script, "--shell-completion", "query=bash"]
    with redirect_stdout(StringIO()) as printed, suppress(SystemExit):
        runpy.run_path(script, run_name="__main__")
    return printed.getvalue().split()
