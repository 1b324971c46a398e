"""Tests of tables of text."""

from __future__ import annotations

from launch.text_tables import markdown_table, terminal_table


def test_markdown_table_has_line_for_each_row() -> None:
    assert markdown_table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def test_terminal_table_aligns_columns_after_first_to_right() -> None:
    table = terminal_table(["a", "b"], [["1", "2"]], left=1)
    assert [column.justify for column in table.columns] == ["left", "right"]
    assert table.row_count == 1
