"""Figures are what their scripts draw today, and complete; notebooks are as readers need them."""

import ast
import csv
import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from theory import Spectrum

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "figures"
SCRIPTS = {path.stem for path in FIGURES.glob("*.py")} - {"style", "measured", "performance"}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def scripts():
    """The scripts by name, as they are when one of them runs."""
    sys.path.insert(0, str(FIGURES))
    try:
        yield importlib.import_module
    finally:
        sys.path.pop(0)


def table(path):
    """Header and rows of a CSV, numbers as such."""

    def value(text):
        try:
            return float(text)
        except ValueError:
            return text

    with open(path, newline="") as file:
        return [[value(text) for text in row] for row in csv.reader(file)]


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_figure_draws_the_numbers_that_are_kept(name, scripts, tmp_path, monkeypatch):
    script = scripts(name)  # before the patch, as it looks for its data beside the folder
    monkeypatch.setattr(scripts("style"), "FOLDER", tmp_path)
    script.main()
    drawn = sorted(tmp_path.glob("*.csv"))
    assert drawn
    for path in drawn:
        assert path.with_suffix(".png").is_file()
        assert path.with_suffix(".pdf").is_file()
        new, kept = table(path), table(FIGURES / path.name)
        assert len(new) == len(kept)
        for row, other in zip(new, kept, strict=True):
            numbers = [isinstance(value, float) for value in row]
            assert numbers == [isinstance(value, float) for value in other]
            for one, two, number in zip(row, other, numbers, strict=True):
                if number:
                    np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-9)
                else:
                    assert one == two


def test_a_title_names_the_data(scripts, tmp_path, monkeypatch):
    script, drawn = scripts("change_cost"), []
    monkeypatch.setattr(script, "spectrum", lambda data: Spectrum.power_law(64, 2.0))
    monkeypatch.setattr(script, "save", lambda figure, name: drawn.append(figure.axes[0]))
    monkeypatch.setattr(script, "save_table", lambda *_: None)
    for data in ("photos", "prepared/faces", "glyphs:EI"):
        script.main(data)
    titles = [axes.get_title() for axes in drawn]
    assert titles == ["photographs, 64 px", "faces, 64 px", "glyphs:EI, 64 px"]


def test_every_script_is_shown_with_its_figure_and_numbers():
    page = (FIGURES / "README.md").read_text()
    pictures = {path.stem for path in FIGURES.glob("*.png")}
    for name in SCRIPTS:
        assert f"`{name}.py`" in page, name
        own = {picture for picture in pictures if picture.startswith(name)}
        assert own, name
        assert all((FIGURES / f"{one}.pdf").is_file() for one in own)
        numbers = {one for one in own if not one.endswith("_samples")}  # pictures of pictures
        assert all((FIGURES / f"{one}.csv").is_file() for one in numbers)
    for picture in pictures:
        assert f"({picture}.png)" in page, picture


def test_there_are_notebooks():
    assert len(NOTEBOOKS) == 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_takes_the_readers_images_and_is_small(path):
    cells = json.loads(path.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert re.match(r'DATA = "(photos|glyphs:EILPX)"  # or a folder', code[0])
    opened = [
        call
        for source in code
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "open_images"
    ]
    assert opened
    assert all(call.args[0].id == "DATA" for call in opened)
    assert path.stat().st_size < 1_200_000
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] == "error"]
