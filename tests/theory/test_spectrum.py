"""Spectra: direct computation, merging, files, and the power law's definition."""

import numpy as np
import pytest
from scipy.fft import dctn

from theory import InputError, Spectrum
from theory.spectrum import octave_edges, octave_power


def images(n=60, size=8, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(channels, channels))
    x = rng.uniform(-1, 1, size=(n, size, size, channels)).cumsum(axis=1) @ mixing
    return x / np.abs(x).max()


def test_power_is_the_variance_of_dct_coefficients_in_the_colour_basis():
    x = images()
    spectrum = Spectrum.from_images([x[:7], x[7:]])
    y = dctn(x, axes=(1, 2), norm="ortho") @ spectrum.colour_basis
    np.testing.assert_allclose(spectrum.power, y.var(axis=0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(spectrum.mean, x.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(
        spectrum.colour_basis.T @ spectrum.colour_basis, np.eye(3), atol=1e-12
    )
    totals = spectrum.power.sum(axis=(0, 1))
    assert (np.diff(totals) < 0).all()
    # The basis decorrelates colours in the mean over all coefficients.
    centred = y - y.mean(axis=0)
    cross = np.einsum("nklc,nkld->cd", centred, centred)
    np.testing.assert_allclose(cross, np.diag(np.diag(cross)), atol=1e-8 * cross.max())


def test_standard_error_is_that_of_the_sample_variance():
    rng = np.random.default_rng(1)
    x = np.clip(rng.normal(scale=0.2, size=(4000, 4, 4, 1)), -1, 1)
    spectrum = Spectrum.from_images(x)
    # Gaussian: standard error of the variance is σ² sqrt(2 / (n − 1)).
    expected = spectrum.power * np.sqrt(2 / 3999)
    np.testing.assert_allclose(spectrum.standard_error, expected, rtol=0.15)


def test_merging_equals_one_pass():
    x = images()
    whole = Spectrum.from_images(x)
    merged = Spectrum.from_images(x[:20]).merge(Spectrum.from_images(x[20:]))
    assert merged.count == 60
    for name in ("power", "mean", "colour_basis", "standard_error"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-8)


def test_files_round_trip_and_merge(tmp_path):
    x = images()
    Spectrum.from_images(x[:20], {"source": "a"}).save(tmp_path / "a.npz")
    loaded = Spectrum.load(tmp_path / "a.npz")
    assert loaded.meta["source"] == "a"
    assert loaded.sha256 == Spectrum.from_images(x[:20]).sha256
    merged = loaded.merge(Spectrum.from_images(x[20:]))
    np.testing.assert_allclose(merged.power, Spectrum.from_images(x).power, rtol=1e-8)
    with np.load(tmp_path / "a.npz") as file:
        names = {"power", "mean", "colour_basis", "count", "standard_error", "meta"}
        assert names <= set(file.files)


@pytest.mark.parametrize("content", [b"", b"PK not a zip", b"text"])
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "s.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"s\.npz"):
        Spectrum.load(path)
    with pytest.raises(InputError, match="no such file"):
        Spectrum.load(tmp_path / "none.npz")


def test_power_law_is_as_defined():
    spectrum = Spectrum.power_law(16, 2.2, channels=2)
    power = spectrum.power[:, :, 0]
    assert power.sum() == pytest.approx(0.25 * 16**2)
    assert power[3, 4] / power[0, 1] == pytest.approx(5**-2.2)
    assert power[0, 0] / power[0, 1] == pytest.approx(0.7**-2.2)


def test_octaves_cover_everything_once():
    assert octave_edges(32) == [0, 2, 4, 8, 16, 32]
    power = Spectrum.power_law(32, 2).power
    assert octave_power(power).sum() == pytest.approx(power.sum())
    assert octave_power(power)[-1] == pytest.approx(power.sum() - power[:16, :16].sum())


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (np.zeros((2, 4, 5, 3)), "shape"),
        (np.zeros((2, 4, 4, 3), np.uint8), "floats"),
        (np.full((2, 4, 4, 3), 2.0), "outside"),
        (np.full((2, 4, 4, 3), np.nan), "outside"),
        (np.zeros((1, 4, 4, 3)), "two images"),
    ],
)
def test_bad_batches_are_refused(batch, said):
    with pytest.raises(InputError, match=said):
        Spectrum.from_images([batch])
