"""What the doctor does: checks in seconds, then a run in small, and a table of what was found."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from launch.cluster.environment import set_environment
from launch.diagnosis.machine_checks import Finding, Status, fine, machine_findings
from tandem.config.schema import Config

COLOURS = {Status.FINE: "green", Status.DOUBTFUL: "yellow", Status.BROKEN: "red"}
LOGS = Path("doctor-logs")
"""Where the logs of a self-test that failed are kept."""


def self_test_finding(config: Config) -> Finding:
    """The run in small, as a finding: whatever stops it is what was found."""
    from launch.diagnosis.self_test import self_test  # it brings in everything

    begun = time.monotonic()
    try:
        seen = self_test(config, LOGS)
    except Exception as error:  # noqa: BLE001  the doctor's subject is whatever goes wrong here
        first, *rest = str(error).strip().splitlines() or [""]
        print("\n".join(rest))
        fix = f"the whole error stands above, the logs are in {LOGS}; mend what is doubtful first"
        return Finding("self-test", Status.BROKEN, f"{type(error).__name__}: {first}", fix)
    return fine("self-test", f"{seen}; {time.monotonic() - begun:.0f} s")


def table(findings: list[Finding]) -> Table:
    """The findings as the terminal shows them."""
    shown = Table(title="tandem doctor")
    for title in ("check", "status", "found", "what to do"):
        shown.add_column(title, overflow="fold")
    for finding in findings:
        colour = COLOURS[finding.status]
        shown.add_row(finding.what, f"[{colour}]{finding.status.value}[/]", finding.found, finding.fix)
    return shown


def diagnose(config: Config, *, quick: bool) -> bool:
    """Runs the checks, then a run in small unless `quick` or broken already, and shows them; whether nothing is broken."""
    set_environment(config.cache_path)
    console = Console()
    findings = list(machine_findings(config.cache_path))
    if not quick and not _broken(findings):
        console.print("a run in small, on the CPU: half a minute or so ...")
        findings.append(self_test_finding(config))
    console.print(table(findings))
    return not _broken(findings)


def _broken(findings: list[Finding]) -> bool:
    return any(finding.status is Status.BROKEN for finding in findings)
