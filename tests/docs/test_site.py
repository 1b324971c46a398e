"""Tests of the documentation site: it builds without broken links, and its reference is current."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.config.documentation import allowed
from tandem.config.schema import SETTINGS
from tests.support import ROOT
from tools import sizing_reference
from tools.config_reference import PAGE, page

pytestmark = pytest.mark.seconds


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as by `make docs`."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder], cwd=ROOT, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_reference_is_current() -> None:
    assert PAGE.read_text() == page(), "run python -m tools.config_reference"


def test_sizing_table_is_what_plan_reckons() -> None:
    assert sizing_reference.PAGE.read_text() == sizing_reference.page(), "run python -m tools.sizing_reference"


def test_reference_explains_every_key() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| [^|]+ \| [^|]+ \| (.*) \|$", page(), re.MULTILINE)
    assert sorted(key for key, _ in rows) == sorted(SETTINGS)
    bare = {words for each in SETTINGS.values() if (words := allowed(each, "`"))}
    assert [key for key, meaning in rows if not meaning or meaning in bare] == []


def test_formulas_are_shown_without_script(site: Path) -> None:
    method = (site / "method" / "index.html").read_text()
    assert method.count("<math") > 20 and "arithmatex" not in method
    assert 'display="block"' in method


def test_pages_fetch_nothing_but_what_is_theirs(site: Path) -> None:
    for html in site.rglob("*.html"):
        fetched = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?(https?://[^\"' >]+)", html.read_text())
        assert [url for url in fetched if not url.startswith("https://squidfunk.github.io")] == []


def test_files_outside_documentation_are_named_not_linked(site: Path) -> None:
    assert "<code>tandem/config/schema.py</code>" in (site / "configuration" / "index.html").read_text()
