"""The page of a schedule: it stands alone, says what the schedule's file says, and its slider."""

import numpy as np
import pytest
from helpers import refusal
from pages import Page, browse, read_page
from PIL import Image

from theory import NoiseSchedule, Spectrum, derive_schedule
from theory.information.bounds import schedule_information
from theory.information.divergence import change_divergence
from theory.oracle.predictions import with_predictions
from theory.plots.html import data_uri, number, page, paragraph, table
from theory.plots.schedule_page import save_schedule_page, schedule_page
from theory.plots.states_section import SHOWN_IMAGES

SPECTRUM = Spectrum.power_law(16, 2.2, pixel_variance=0.1, channels=3)
NOISE = NoiseSchedule.linear(1000)
NAMES = {"summary", "states", "snr", "resolutions", "changes", "information", "spectrum"}


def schedule(criterion="snr", **options):
    made = derive_schedule(SPECTRUM, NOISE, (16, 8, 4), criterion=criterion, **options)
    return with_predictions(made, SPECTRUM)


def images(count, size=16, channels=3):
    return np.random.default_rng(0).uniform(-1, 1, (count, size, size, channels))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "jumps.html"
    save_schedule_page(path, schedule(), SPECTRUM, images(9), "some <b>folder</b> & more")
    return path


def test_it_says_what_the_schedule_says(file):
    made, shown = schedule(), read_page(file)
    assert NAMES | {"derivation"} <= set(shown.names)
    predicted = made.predicted
    for value in (
        f"{predicted['chain_cost_ratio']:.3f}",
        f"{predicted['oracle_error']:.3g}",
        f"{predicted['oracle_error_full_resolution']:.3g}",
        *(f"{nats:.3g}" for nats in predicted["change_divergence_nats"]),
    ):
        assert value in shown.text
    assert "some <b>folder</b> & more" in shown.text  # as text
    levels, changes, octaves, _ = shown.tables
    assert [row[:2] for row in levels[1:]] == [
        ["16 px", f"0 … {min(made.changes) - 1}"],
        ["8 px", f"{min(made.changes)} … {max(made.changes) - 1}"],
        ["4 px", f"{max(made.changes)} … 999"],
    ]
    assert changes[1:-1] == [
        [f"{c.after} → {c.before} px", str(c.step), f"{c.gaussian:.3g}", f"{c.bound:.3g}"]
        for c in change_divergence(made, SPECTRUM)
    ]
    assert [row[0] for row in octaves[1:]] == ["0 … 1", "2 … 3", "4 … 7", "8 … 15"]


def test_its_states_are_those_of_the_schedule(file):
    made, shown = schedule(), read_page(file)
    states = shown.data["states-data"]
    bits = schedule_information(made, SPECTRUM)
    assert {0, 500, 999, *made.change_sides} <= {state["t"] for state in states}
    for state in states:
        t = state["t"]
        assert state["small_side"] == made.resolutions[t]
        assert state["small_snr"] == pytest.approx(made.snr[t])
        assert state["full_snr"] == pytest.approx(made.base_snr[t])
        assert state["small_bits"] == pytest.approx(bits[t])
        assert state["full_bits"] > state["small_bits"] * (1 - 1e-9)
        assert len(state["full"]) == len(state["small"]) == SHOWN_IMAGES
    assert len(shown.images["clean"]) == SHOWN_IMAGES
    first = next(state for state in states if state["t"] == min(made.changes))
    assert shown.images["full"] == first["full"]
    assert shown.images["small"] == first["small"]
    assert f"8 × 8 px, snr {number(first['small_snr'])}" in shown.text


def test_lossless_changes_cost_nothing_and_draws_are_called_draws():
    shown = Page(schedule_page(schedule("water-filling"), SPECTRUM))
    assert "They lose nothing, whatever the data" in shown.text
    assert [row[2:] for row in shown.tables[1][1:]] == [["0", "0"]] * 3
    assert "draws of the Gaussian field" in shown.text
    assert "water level" in shown.text
    for state in shown.data["states-data"]:
        assert state["full_bits"] == pytest.approx(state["small_bits"])


@pytest.mark.parametrize("channels", [1, 2])
def test_other_channels_no_change_and_no_predictions(channels):
    spectrum = Spectrum.power_law(8, 2, channels=channels)
    made = derive_schedule(spectrum, NoiseSchedule.linear(50), (8,))
    shown = Page(schedule_page(made, spectrum, images(1, 8, channels)))
    shown.check_it_stands_alone()
    assert "There is no change of resolution." in shown.text
    assert "cost of a mean call" not in shown.text  # which was not predicted


def test_an_operator_that_mixes_frequencies():
    spectrum = Spectrum.power_law(8, 2)
    box = derive_schedule(spectrum, NOISE, (8, 4), criterion="snr", operator="box")
    assert "known for dct only" in Page(schedule_page(box, spectrum)).text


def test_a_page_of_large_images_stays_small(tmp_path):
    spectrum = Spectrum.power_law(128, 2.2, pixel_variance=0.1, channels=3)
    made = derive_schedule(spectrum, NOISE, (128, 64, 32), criterion="snr")
    save_schedule_page(tmp_path / "large.html", made, spectrum)
    assert read_page(tmp_path / "large.html").images["full"]


def test_what_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "page.html"
    other = Spectrum.power_law(8, 2)
    assert "has resolution 16" in refusal(lambda: save_schedule_page(path, schedule(), other))
    for wrong in (images(0), images(2, channels=1), images(2, size=8)):
        said = refusal(lambda x=wrong: save_schedule_page(path, schedule(), SPECTRUM, x))
        assert "the spectrum needs (N, 16, 16, 3)" in said
    assert not list(tmp_path.iterdir())


def test_text_is_escaped_and_numbers_are_short():
    evil = "<script>alert(1)</script>\"'&"
    text = page(evil, evil, {"a": (evil, paragraph(evil) + table([evil], [[evil]]))}, evil)
    assert "<script>alert" not in text
    assert Page(text).text.count(evil) == 9  # title, h1, lead, link, h2, text, two cells, foot
    assert [number(x) for x in (9999.0, 999.7, 0.012345, 1e9)] == [
        "9,999",
        "1,000",
        "0.0123",
        "1e+09",
    ]


def test_pictures_of_two_channels_stand_side_by_side():
    small, large = (data_uri(np.zeros((n, n, 2), np.uint8)) for n in (8, 65))
    assert small.startswith("data:image/png;base64,")
    assert large.startswith("data:image/jpeg;base64,")


def test_the_slider_in_a_browser(file, tmp_path):
    made = schedule()
    states = {state["t"]: state for state in read_page(file).data["states-data"]}
    for asked, found in ((500, 500), (max(made.changes), max(made.changes)), (100000, 999)):
        dom, log = browse(tmp_path, f"{file.as_uri()}#t={asked}", "--dump-dom")
        shown = Page(dom)
        assert "CONSOLE" not in log, log
        assert f"step {found}" in shown.text
        assert states[found]["small_label"] in shown.text
        assert shown.images["full"] == states[found]["full"]
        assert shown.images["small"] == states[found]["small"]
    picture = tmp_path / "page.png"
    browse(tmp_path, file.as_uri(), f"--screenshot={picture}", "--window-size=1200,900")
    assert Image.open(picture).size == (1200, 900)
    assert len(np.unique(np.asarray(Image.open(picture).convert("L")))) > 100
