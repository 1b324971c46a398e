"""Tests of what programs print: text appears as it is, whatever brackets it has."""

from __future__ import annotations

import io
import re

from hypothesis import given
from hypothesis import strategies as st

from launch.terminal import terminal_console
from launch.text_tables import terminal_table
from tests.support import ROOT

texts = st.one_of(
    st.sampled_from(["eval.measures=[solo,handoff]", "junior=[self]", "runs/[red]/x", "[/]", "[link=x]"]),
    st.text(alphabet="[]/=abc,\\ ", min_size=1, max_size=30),
)


@given(texts)
def test_text_appears_as_it_is(text: str) -> None:
    written = io.StringIO()
    terminal_console(file=written).print(text, soft_wrap=True)
    assert written.getvalue() == text + "\n"


@given(texts)
def test_cells_and_titles_of_tables_appear_as_they_are(text: str) -> None:
    written = io.StringIO()
    terminal_console(file=written, width=200).print(terminal_table((text, "b"), [(text, "x")], title=text))
    assert written.getvalue().count(text.strip()) >= 3


def test_programs_have_no_other_console() -> None:
    made = re.compile(r"(?<![\w_])(?:Console\(|get_console|rich\.print)")
    files = [path for path in (ROOT / "launch").rglob("*.py") if path.name != "terminal.py"]
    assert [path for path in files if made.search(path.read_text(encoding="utf-8"))] == []
