"""The documentation names only files and settings that exist."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from operator import attrgetter
from pathlib import Path

import pytest

from launch.entry import configuration
from tandem.config.schema import Config
from tests.support import ROOT

DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"^python launch/train\.py ((?:[\w.]+=\S+ ?)+)$", re.MULTILINE)
SECTIONS = "|".join(key for key, value in vars(Config()).items() if hasattr(value, "__dataclass_fields__"))

every_doc = pytest.mark.parametrize("doc", DOCS, ids=lambda doc: doc.name)


def inline_code(doc: Path) -> list[str]:
    return CODE.findall(re.sub(r"^```.*?^```", "", doc.read_text(), flags=re.DOTALL | re.MULTILINE))


def overrides(doc: Path) -> list[list[str]]:
    """Return every `key=value ...` in `doc` for the command line of training, except those with a placeholder NAME."""
    spans = [span for span in inline_code(doc) if re.match(r"'?[a-z][a-z_.0-9]*=[^=\\]", span)]
    return [shlex.split(span) for span in spans + COMMAND.findall(doc.read_text()) if "=NAME" not in span]


def definitions(file: Path) -> set[str]:
    """Return the names that a module defines at its top level."""
    found: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case ast.Assign(targets=[ast.Tuple(elts=several)]):
                found |= {one.id for one in several if isinstance(one, ast.Name)}
    return found


@every_doc
def test_links_lead_somewhere(doc: Path) -> None:
    targets = [target for target in re.findall(r"\]\(([^)#]+)", doc.read_text()) if not target.startswith("https:")]
    assert [target for target in targets if not (doc.parent / target).exists()] == []


@every_doc
def test_files_in_text_exist(doc: Path) -> None:
    named = [span for span in inline_code(doc) if re.fullmatch(r"(tandem|actors|learner|launch|conf|tests)/[a-z_0-9./]*", span)]
    paths = [span for span in named if not re.fullmatch(r"(tandem|learner)/[a-z_]+", span)]  # others are keys of metrics.jsonl
    assert [path for path in paths if not (ROOT / path).exists()] == []


@every_doc
def test_what_text_names_in_file_is_there(doc: Path) -> None:
    for path, names in re.findall(r"`([a-z_/]+\.py)`: ((?:`\w+`(?:, )?)+)", doc.read_text()):
        defined = definitions(ROOT / path)
        assert [name for name in CODE.findall(names) if name not in defined] == [], path


@cache
def names_of_tests() -> frozenset[str]:
    return frozenset(
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.M)
    )


@every_doc
def test_tests_in_text_exist(doc: Path) -> None:
    named = [span for span in inline_code(doc) if re.fullmatch(r"test_\w+", span)]
    assert [name for name in named if name not in names_of_tests()] == []


@every_doc
def test_settings_in_text_exist(doc: Path) -> None:
    for span in inline_code(doc):
        if re.fullmatch(rf"({SECTIONS})(\.[a-z_]+)+", span):
            attrgetter(span)(Config())


@cache
def check(given: tuple[str, ...]) -> None:
    """Compose and check the configuration for `given`; pages repeat each other."""
    configuration(given)


@pytest.mark.seconds
@every_doc
def test_overrides_in_text_are_accepted(doc: Path) -> None:
    for given in overrides(doc):
        if not re.search(r"\bmine\b", " ".join(given)):  # files of the tutorial, which test_tutorial.py creates
            check(tuple(given))


def test_table_of_groups_lists_files() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|", (ROOT / "docs" / "configuration.md").read_text(), re.MULTILINE)
    listed = {group: sorted(CODE.findall(files)) for group, files in rows}
    folders = (ROOT / "conf").glob("*/")
    assert listed == {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}


def test_readme_has_overrides_to_check() -> None:
    assert len(overrides(ROOT / "README.md")) > 10


@every_doc
def test_no_result_waits_for_its_figure(doc: Path) -> None:
    assert not re.findall(r"\bRESULT_\w+|^[A-Z_]{5,}$", doc.read_text(), re.MULTILINE)
