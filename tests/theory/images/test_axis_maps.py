"""Paths of resizes and blurs on one axis, and schedules that blur."""

import json

import numpy as np
import pytest
from scipy.fft import dct

from theory import InputError, NoiseSchedule, ResolutionSchedule, Spectrum, oracle_report
from theory.images.axis_maps import DegradationPath, lambda_max, scaled
from theory.images.operators import OPERATORS, resize_matrix
from theory.oracle.report import dense_oracle_report, oracle_errors
from theory.oracle.sampler import Sampler
from theory.oracle.steps import select_steps

NOISE = NoiseSchedule.linear(100)
PATHS = [
    DegradationPath("box", (12,), (3.0,)),
    DegradationPath("box", (12, 6), (1.5, 0.5)),
    DegradationPath("dct", (12, 6, 3), (0.0, 2.0, 0.1)),
    DegradationPath("dct", (9, 6)),
    DegradationPath("bilinear", (12, 8), (0.7, 0.0)),
    DegradationPath("lanczos", (12, 5)),
]


def blurred(operator="box", noise_mode="matched", size=16, most=6.0):
    resolutions = np.repeat([size, size // 2, size // 4], [40, 30, 30])
    return ResolutionSchedule.from_noise(
        resolutions, NOISE, noise_mode, operator, most * np.linspace(0, 1, 100) ** 2
    )


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_factors_are_the_singular_value_decomposition(path):
    u, s, v = path.factors()
    np.testing.assert_allclose((u * s) @ v.T, path.matrix(), atol=1e-12)
    for basis in (u, v):
        np.testing.assert_allclose(basis.T @ basis, np.eye(len(s)), atol=1e-12)
    assert len(s) == min(path.matrix().shape)


def test_factors_of_a_strong_blur_keep_every_direction():
    # Singular values down to e^-1000 have their own directions in closed form.
    u, s, v = DegradationPath("box", (16,), (250.0,)).factors()
    np.testing.assert_allclose(u, v)
    assert s.min() == 0 or s.min() < 1e-300
    # Behind a box resize, what is numerically zero is left out.
    u, s, v = DegradationPath("box", (16, 8), (250.0, 0.0)).factors()
    assert len(s) < 8
    assert s.min() > 1e-10 * s.max()


def test_blur_has_the_published_transfer():
    # exp(−τ λ_k), λ_k = (π k / n)², τ = variance / 2: Rissanen et al. 2023, section 3;
    # Hoogeboom & Salimans 2023, eq. 7.
    x = np.random.default_rng(0).normal(size=12)
    out = dct(DegradationPath("box", (12,), (3.0,)).matrix() @ x, norm="ortho")
    frequencies = (np.pi * np.arange(12) / 12) ** 2
    np.testing.assert_allclose(out, np.exp(-1.5 * frequencies) * dct(x, norm="ortho"), atol=1e-12)


def test_blur_commutes_with_an_ideal_resize():
    before = DegradationPath("dct", (12, 6), (2.0, 0.0)).matrix()
    after = DegradationPath("dct", (12, 6), (0.0, 0.5)).matrix()  # a quarter, in larger pixels
    np.testing.assert_allclose(before, after, atol=1e-12)


@pytest.mark.parametrize("operator", OPERATORS)
def test_paths_of_a_schedule_compose(operator):
    schedule = blurred(operator)
    for s, t in ((None, 99), (0, 75), (39, 40), (12, 71), (41, 66)):
        for u in (40, 55, 70) if s is None else range(s + 1, t, 9):
            through = schedule.path(u, t).matrix() @ schedule.path(s, u).matrix()
            np.testing.assert_allclose(through, schedule.path(s, t).matrix(), atol=1e-12)
    assert schedule.path(5, 5).is_identity
    assert not schedule.path(5, 6).is_identity


def test_a_rectangular_side_has_the_same_pixels():
    path = DegradationPath("box", (8, 4), (1.0, 0.0))
    wide = path.matrix(8, 12)
    assert wide.shape == (6, 12)
    expected = resize_matrix("box", 12, 6) @ DegradationPath("box", (12,), (1.0,)).matrix()
    np.testing.assert_allclose(wide, expected)
    with pytest.raises(InputError, match="image side 9: has no whole number of pixels"):
        scaled(4, 9, 8)


def test_lambda_max_is_the_largest_gain_of_white_noise():
    matrix = np.kron(*[DegradationPath("lanczos", (8, 4), (0.4, 0.0)).matrix()] * 2)
    largest = np.linalg.eigvalsh(matrix @ matrix.T).max()
    assert lambda_max("lanczos", 8, 4, 0.4) == pytest.approx(largest, rel=1e-12)


@pytest.mark.parametrize("noise_mode", ["matched", "paper"])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_the_oracle_follows_blurs_exactly(noise_mode, eta):
    schedule = blurred("dct", noise_mode)
    spectrum = Spectrum.power_law(16, 2.0)
    steps = select_steps(schedule, 12)
    for variance in (False, True):
        fast = oracle_report(schedule, spectrum, steps, eta, spectral_variance=variance)
        sampler = Sampler(eta, spectral_variance=variance)
        dense = dense_oracle_report(schedule, spectrum, steps, sampler)
        np.testing.assert_allclose(fast.power, dense.power, rtol=1e-8, atol=1e-12)
        (many,) = oracle_errors([schedule], spectrum, [steps], sampler)
        assert many == pytest.approx(fast.relative_w2, rel=1e-9)
    sharp = oracle_report(blurred("dct", noise_mode, most=0.0), spectrum, steps, eta).relative_w2
    assert abs(oracle_report(schedule, spectrum, steps, eta).relative_w2 / sharp - 1) > 0.03


def test_blurs_are_written_and_read(tmp_path):
    schedule = blurred()
    schedule.save(tmp_path / "s.json")
    loaded = ResolutionSchedule.load(tmp_path / "s.json")
    np.testing.assert_array_equal(loaded.blur, schedule.blur)
    assert loaded.blurs
    sharp = ResolutionSchedule.full_resolution(8, NOISE)
    assert not sharp.blurs
    assert "blur" not in sharp.to_json()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["blur"].__setitem__(50, 0.0), r"blur\[50\] = 0.0: must be finite"),
        (lambda c: c["blur"].__setitem__(0, -1.0), r"blur\[0\] = -1.0"),
        (lambda c: c["blur"].__setitem__(3, "x"), r"blur\[3\]: must be a number"),
        (lambda c: c["blur"].pop(), r"blur: has shape \(99,\)"),
    ],
)
def test_bad_blurs_are_refused(change, said, tmp_path):
    content = blurred().to_json()
    change(content)
    (tmp_path / "s.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=said):
        ResolutionSchedule.load(tmp_path / "s.json")


def test_what_does_not_hold_with_blur_is_refused():
    schedule, spectrum = blurred(), Spectrum.power_law(16, 2.0)
    with pytest.raises(InputError, match="order 2"):
        oracle_report(schedule, spectrum, eta=0.0, order=2)
    with pytest.raises(InputError, match="without blur"):
        select_steps(schedule, 20, "planned", spectrum=spectrum)
    with pytest.raises(InputError, match="one blur for each resolution"):
        DegradationPath("box", (8, 4), (1.0,))
