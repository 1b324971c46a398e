"""The doctor: quick checks, then a short run, and a table of the findings."""

from __future__ import annotations

import time
from pathlib import Path

from rich.table import Table
from rich.text import Text

from launch.cluster.environment import set_environment
from launch.diagnosis.machine_checks import CheckStatus, Finding, fine, machine_findings
from launch.status import status
from launch.terminal import terminal_console
from tandem.config.schema import Config, ConfigError
from tandem.runtime.errors import plain_error
from tandem.runtime.restarts import in_short

COLORS = {CheckStatus.FINE: "green", CheckStatus.DOUBTFUL: "yellow", CheckStatus.BROKEN: "red"}
LOGS = Path("doctor-logs")
"""The folder of the logs of a failed self-test."""


def self_test_finding(config: Config) -> Finding:
    """Return the result of the self-test, or the error that ended it, as a finding."""
    from launch.diagnosis.self_test import self_test  # a slow import

    start = time.monotonic()
    try:
        summary = self_test(config, LOGS)
    except Exception as error:  # noqa: BLE001  every error is a finding
        print(error)
        fix = f"the whole error is shown above, the logs are in {LOGS}; fix the doubtful checks first"
        plain = plain_error(error) or error
        reason = str(plain).partition("\n")[0] if isinstance(plain, ConfigError) else in_short(plain)
        return Finding("self-test", CheckStatus.BROKEN, f"{type(plain).__name__}: {reason}", fix)
    return fine("self-test", f"{summary}; {time.monotonic() - start:.0f} s")


def table(findings: list[Finding]) -> Table:
    """Return the findings as a table for the terminal."""
    grid = Table(title="tandem doctor")
    for title in ("check", "status", "found", "what to do"):
        grid.add_column(title, overflow="fold")
    for finding in findings:
        color = COLORS[finding.status]
        grid.add_row(finding.what, Text(finding.status.value, style=color), finding.found, finding.fix)
    return grid


def diagnose(config: Config, *, quick: bool) -> bool:
    """Run the checks, then the self-test unless `quick` or a check is broken, and print them; return whether none is broken."""
    set_environment(config.cache_path)
    console = terminal_console()
    findings = list(machine_findings(config.cache_path))
    if not quick and not _broken(findings):
        with status("A short run", "half a minute", console):
            findings.append(self_test_finding(config))
    console.print(table(findings))
    return not _broken(findings)


def _broken(findings: list[Finding]) -> bool:
    return any(finding.status is CheckStatus.BROKEN for finding in findings)
