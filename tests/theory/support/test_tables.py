"""Tables show all columns of all rows, aligned."""

from theory.support.tables import cells, markdown_table, text_table

ROWS = [{"name_of_it": "a", "x": 1234.5678, "ok": True}, {"name_of_it": "bb", "y": [1, 2], "x": 3}]


def test_cells_are_of_all_keys_with_four_digits():
    assert cells(ROWS, {"y": lambda y: "+".join(map(str, y))}) == [
        ["name of it", "x", "ok", "y"],
        ["a", "1235", "yes", "-"],
        ["bb", "3", "-", "1+2"],
    ]
    assert cells(ROWS, {"x": None, "y": None})[1:] == [["a", "yes"], ["bb", "-"]]
    assert cells([{"changes": {}}], {"changes": " ".join}) == [["changes"], ["-"]]


def test_text_is_aligned_and_long_titles_are_wrapped():
    rows = [["", "images per second", "n"], ["one", "1.5", "10"], ["three", "22.5", ""]]
    assert text_table(rows) == (
        "       images per\n           second   n\none           1.5  10\nthree        22.5"
    )


def test_markdown():
    assert markdown_table([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
