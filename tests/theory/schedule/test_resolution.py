"""Schedules: the paper's changes, derivation, matched noise, validation and files."""

import json
from pathlib import Path

import numpy as np
import pytest

from theory import InputError, NoiseSchedule, ResolutionSchedule, Spectrum, derive_schedule
from theory.information.bounds import band_mask, gaussian_information
from theory.information.discarded import discarded_information
from theory.oracle.predictions import with_predictions
from theory.schedule.costs import cost_table

REFERENCE = json.loads((Path(__file__).parents[2] / "data/paper_schedules.json").read_text())
NOISE = NoiseSchedule.linear(1000)
SPECTRUM = Spectrum.power_law(64, 2.2)
# GFLOP per image and call of the paper's 64-pixel network.
RESOLUTION_COSTS = {64: 56.7, 32: 34.4, 16: 16.3, 8: 5.05}


def test_base_noise():
    betas = np.linspace(1e-4, 0.02, 1000)
    np.testing.assert_allclose(NOISE.alpha_bar, np.cumprod(1 - betas))
    assert NoiseSchedule.cosine(1000).alpha_bar[0] == pytest.approx(1, abs=1e-4)
    with pytest.raises(InputError, match=r"alpha_bar\[1\]"):
        NoiseSchedule(np.array([0.5, 0.6]))
    noisy = NOISE.below(60)
    np.testing.assert_array_equal(noisy.alpha_bar, NOISE.alpha_bar[NOISE.snr <= 60])
    assert 55 < noisy.snr[0] <= 60
    with pytest.raises(InputError, match=r"largest_snr 1e-09: is below .* 4.04e-05 to 1e\+04"):
        NOISE.below(1e-9)


@pytest.mark.parametrize("name", REFERENCE)
def test_the_papers_schedules_change_where_its_code_does(name):
    size, levels, _, schedule_name = name.split()
    schedule = ResolutionSchedule.paper(int(size[:-2]), int(levels), schedule_name, NOISE)
    expected = REFERENCE[name]
    assert {str(t): list(pair) for t, pair in schedule.changes.items()} == expected["changes"]
    assert schedule.resolutions[0] == expected["first"]
    assert schedule.resolutions[-1] == expected["last"]


@pytest.mark.parametrize(
    ("tolerance", "changes", "ratio"), [(0.1, [207, 353, 501], 2.61), (0.3, [127, 245, 396], 3.38)]
)
def test_derived_schedule_and_its_cost(tolerance, changes, ratio):
    schedule = derive_schedule(SPECTRUM, NOISE, tolerance=tolerance, criterion="snr")
    assert list(schedule.changes) == changes
    costs = [RESOLUTION_COSTS[r] for r in schedule.resolutions]
    assert 56.7 / np.mean(costs) == pytest.approx(ratio, abs=0.005)
    # Charging changes what they cost makes a chain of 1000 steps dearer, by less than half a %.
    table = cost_table((64, 32, 16, 8))
    with_changes = table[64, 64] / schedule.chain_cost(table)
    assert 0.995 < with_changes / ratio < 1.001


def test_the_snr_criterion_holds_and_holds_tightly():
    schedule = derive_schedule(SPECTRUM, NOISE, tolerance=0.1, criterion="snr")
    for t, (_, level) in schedule.changes.items():
        worst = SPECTRUM.power[~band_mask(64, level)].max()
        assert NOISE.snr[t] * worst <= 0.1 < NOISE.snr[t - 1] * worst


@pytest.mark.parametrize(("criterion", "tolerance"), [("information", 0.2), ("bits", 1e-3)])
def test_the_information_criteria_hold_at_every_step(criterion, tolerance):
    schedule = derive_schedule(SPECTRUM, NOISE, criterion=criterion, tolerance=tolerance)
    assert schedule.changes
    for t in range(0, 1000, 37):
        lost = discarded_information(SPECTRUM, NOISE.snr[t], schedule.resolutions[t])
        unit = gaussian_information(SPECTRUM, NOISE.snr[t]) if criterion == "information" else 64**2
        assert lost / unit <= tolerance


def test_an_impossible_tolerance_keeps_full_resolution():
    assert not derive_schedule(SPECTRUM, NOISE, tolerance=0.0, criterion="snr").changes


@pytest.mark.parametrize("operator", ["box", "dct", "bilinear", "lanczos"])
def test_matched_noise_is_the_least_that_is_valid(operator):
    schedule = derive_schedule(SPECTRUM, NOISE, operator=operator, criterion="snr")
    np.testing.assert_allclose(schedule.base_snr, NOISE.snr, rtol=1e-9)
    if operator in ("box", "dct"):
        scale = (64 / schedule.resolutions) ** 2
        np.testing.assert_allclose(schedule.snr, NOISE.snr * scale, rtol=1e-9)
    change = next(iter(schedule.changes))
    noise_to_signal = 1 / schedule.snr
    # Just below λ_max times the noise before the change.
    noise_to_signal[change:] *= 0.999 * NOISE.snr[change] / NOISE.snr[change - 1]
    sigma = np.sqrt(noise_to_signal / (1 + noise_to_signal))
    with pytest.raises(InputError, match=f"step {change - 1} -> {change} .* not a valid step"):
        ResolutionSchedule(
            schedule.resolutions, np.sqrt(1 - sigma**2), sigma, operator, levels=(64, 32, 16, 8)
        )


def test_paper_noise_is_the_base_noise():
    schedule = derive_schedule(SPECTRUM, NOISE, noise_mode="paper", criterion="snr")
    np.testing.assert_allclose(schedule.sigma, NOISE.sigma)
    np.testing.assert_allclose(schedule.base_snr, NOISE.snr)


def test_files_round_trip(tmp_path):
    schedule = derive_schedule(SPECTRUM, NOISE, criterion="snr")
    schedule.save(tmp_path / "s.json")
    loaded = ResolutionSchedule.load(tmp_path / "s.json")
    np.testing.assert_array_equal(loaded.sigma, schedule.sigma)
    assert loaded.to_json() == schedule.to_json()
    assert loaded == schedule
    assert hash(loaded) == hash(schedule)
    assert loaded != derive_schedule(SPECTRUM, NOISE, criterion="snr", tolerance=0.2)
    assert len({NoiseSchedule.linear(), NoiseSchedule.linear(), NoiseSchedule.cosine()}) == 2
    assert len({SPECTRUM, Spectrum.power_law(64, 2.2), Spectrum.power_law(64, 2.5)}) == 2
    assert loaded.derivation["spectrum_sha256"] == SPECTRUM.sha256


def broken(**changes):
    content = derive_schedule(SPECTRUM, NOISE, criterion="snr").to_json()
    for key, (index, value) in changes.items():
        if index is None:
            content[key] = value
        else:
            content[key][index] = value
    return content


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": (None, "other")}, "format 'other'"),
        ({"alpha": (None, [1.0])}, "alpha: has shape"),
        ({"alpha": (7, 0.5)}, r"alpha\[7\] = 0\.5"),
        ({"sigma": (7, "x")}, r"sigma\[7\]: must be a number"),
        ({"sigma": (7, float("nan"))}, r"sigma\[7\]"),
        ({"resolutions": (600, 64)}, r"resolutions\[600\] = 64: must not be larger"),
        ({"resolutions": (600, 7)}, r"resolutions\[600\] = 7: is not one of the levels"),
        ({"resolutions": (0, 32)}, r"resolutions\[0\]"),
        ({"levels": (None, [32, 16, 8])}, "levels: must begin with the resolution"),
        ({"operator": (None, "cubic")}, "operator 'cubic'"),
        ({"noise": (None, "none")}, "noise mode 'none'"),
    ],
)
def test_a_broken_file_is_refused_by_its_entry(changes, said, tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(broken(**changes)))
    with pytest.raises(InputError, match=said) as caught:
        ResolutionSchedule.load(tmp_path / "s.json")
    assert str(caught.value).startswith(str(tmp_path / "s.json"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", ["", "[]", "not json", "\x00"])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(InputError, match=r"s\.json"):
        ResolutionSchedule.load(tmp_path / "s.json")


@pytest.mark.parametrize("name", ["ConvexDecay_x", "Equal", "SigmoidLikeDecay", "TanhLikeDecay_-1"])
def test_unknown_names_are_refused(name):
    with pytest.raises(InputError, match="unknown"):
        ResolutionSchedule.paper(64, 4, name, NOISE)


def test_curves_that_rounding_flattens_are_refused():
    with pytest.raises(InputError, match="'TanhLikeDecay_60': its curve is lost to rounding"):
        ResolutionSchedule.paper(64, 4, "TanhLikeDecay_60", NOISE)


def test_noise_may_be_steady_where_states_are_blurred():
    """Inverse heat dissipation, mathematics §2."""
    steady = np.full(50, 0.9999)
    heat = ResolutionSchedule(
        np.full(50, 16), steady, np.sqrt(1 - steady**2), blur=np.linspace(0, 5, 50)
    )
    predicted = with_predictions(heat, Spectrum.power_law(16, 2)).predicted
    assert "oracle_error" in predicted
    assert "oracle_error_full_resolution" not in predicted
    np.testing.assert_allclose(heat.with_operator("box").sigma, heat.sigma)


def test_levels_must_begin_with_the_spectrums_resolution():
    with pytest.raises(InputError, match="must begin with the spectrum's resolution, 64"):
        derive_schedule(SPECTRUM, NOISE, levels=(32, 16), criterion="snr")


@pytest.mark.parametrize(
    ("size", "levels", "expected"),
    [
        (32, None, (32, 16, 8)),
        (48, None, (48, 24, 12)),
        (64, None, (64, 32, 16, 8)),
        (100, None, (100, 50, 25)),
        (256, None, (256, 128, 64, 32, 16, 8)),
        (64, 2, (64, 32)),
        (64, np.int64(5), (64, 32, 16, 8, 4)),
        (60, (60, 45, 20), (60, 45, 20)),
    ],
)
def test_levels_are_the_networks_a_number_or_a_list(size, levels, expected):
    law = Spectrum.power_law(size, 2.5)
    assert derive_schedule(law, NOISE, levels).levels == expected


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        (8, "levels 8: 64 px cannot be halved 7 times; give 7 or fewer, or"),
        (0, "levels 0"),
        ((64, 8.5), "whole numbers"),
        ((float("inf"), 8), "whole numbers"),
        ((32, 64), "from the largest to the smallest"),
        ((), "list of whole numbers"),
    ],
)
def test_other_levels_are_refused(levels, said):
    with pytest.raises(InputError, match=said):
        derive_schedule(SPECTRUM, NOISE, levels)
