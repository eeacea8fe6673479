"""Spectra: direct computation, merging, files, and the power law's definition."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.fft import dctn, idctn

from theory import (
    InputError,
    NoiseSchedule,
    Spectrum,
    derive_schedule,
    plan_sampling,
    resize_matrix,
    spectral_exponents,
)
from theory.schedule.budget import binned_powers
from theory.spectrum.bands import octave_edges, octave_power


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
    x = np.clip(rng.normal(scale=0.2, size=(20_000, 4, 4, 2)) @ [[1, 0.3], [0, 0.8]], -1, 1)
    spectrum = Spectrum.from_images(x)
    # Gaussian: standard error of the variance is σ² sqrt(2 / (n − 1)).
    expected = spectrum.power * np.sqrt(2 / 19_999)
    np.testing.assert_allclose(spectrum.standard_error, expected, rtol=0.15)
    np.testing.assert_allclose((spectrum.standard_error / expected).mean(), 1, atol=0.03)
    few = Spectrum.from_images(x[:40])
    assert 0.5 < (few.standard_error / few.power).mean() / np.sqrt(2 / 39) < 1.5


FIELDS = ("power", "mean", "colour_basis")


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 58), st.integers(1, 60), st.booleans())
def test_merging_equals_one_pass(split, batch, double):
    x = images().astype(np.float64 if double else np.float32)
    whole = Spectrum.from_images([x[i : i + batch] for i in range(0, 60, batch)])
    merged = Spectrum.from_images(x[:split]).merge(Spectrum.from_images(x[split:]))
    assert merged.count == 60
    for name in FIELDS:
        ours, theirs = getattr(merged, name), getattr(whole, name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-8 if double else 1e-4, atol=1e-6)
    one = Spectrum.from_images(x)  # how a pass is cut into batches leaves no trace
    assert one.sha256 == whole.sha256
    assert_agree(one, whole)


def assert_agree(one, other):
    """To 1e-12, and the moments too."""
    assert one.count == other.count
    for key in (*FIELDS, "standard_error"):
        mine, theirs = getattr(one, key), getattr(other, key)
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12 * np.abs(theirs).max())
    theirs = other.moments.arrays()
    for key, values in one.moments.arrays().items():
        scale = np.abs(theirs[key]).max()
        np.testing.assert_allclose(values, theirs[key], rtol=1e-12, atol=1e-12 * scale)


def test_merging_is_associative_and_commutative():
    a, b, c = (Spectrum.from_images(images(30, seed=i)) for i in range(3))
    assert_agree(a.merge(b).merge(c), a.merge(b.merge(c)))
    assert_agree(a.merge(b), b.merge(a))
    assert_agree(c.merge(a).merge(b), a.merge(b).merge(c))


@pytest.mark.parametrize("threads", [1, 3])
def test_whole_blocks_merge_to_one_pass(threads):
    x = images(n=2500, size=4).astype(np.float32)
    whole = Spectrum.from_images(x, threads=threads)
    assert whole.sha256 == Spectrum.from_images(x, threads=2).sha256
    parts = [
        Spectrum.from_images([x[i] for i in part])
        for part in (
            [slice(1024, 2048)],
            [slice(0, 1000), slice(1000, 1024), slice(2048, 2500)],
        )
    ]
    assert_agree(parts[0].merge(parts[1]), whole)


def test_float32_images_lose_nothing_to_cancellation():
    rng = np.random.default_rng(0)
    x = (0.9 + rng.normal(scale=1e-3, size=(200, 16, 16, 3))).astype(np.float32)
    exact = Spectrum.from_images(x.astype(np.float64))
    rough = Spectrum.from_images(x)
    np.testing.assert_allclose(rough.power[1:, 1:], exact.power[1:, 1:], rtol=1e-3)


@pytest.mark.parametrize("size", [8, 48, 100])
@pytest.mark.parametrize("count", [2, 37, 100])
@pytest.mark.parametrize(
    ("varying", "columns"),  # axes (N, H, W) along which pixels differ; columns that have power
    [((), 0), ((1, 2), 0), ((0,), 1), ((0, 2), None)],
)
def test_what_rounding_leaves_is_no_power(varying, columns, count, size):
    full = (count, size, size)
    drawn = [full[axis] if axis in varying else 1 for axis in range(3)]
    pixels = np.random.default_rng(count + size).integers(0, 256, (*drawn, 3))
    pixels = np.broadcast_to(pixels, (*full, 3)).astype(np.float32) / np.float32(127.5) - 1
    if columns == 0:
        with pytest.raises(InputError, match="all the same"):
            Spectrum.from_images(pixels)
        return
    spectrum = Spectrum.from_images(pixels)
    known = np.zeros((size, size), bool)
    known[0, :columns] = True
    assert (spectrum.power[~known] == 0).all()
    assert (spectrum.standard_error[~known] == 0).all()
    assert (spectrum.power.sum(axis=-1)[known] > 1e-6).all()


def test_a_spectrum_without_power_gives_no_schedule():
    same = np.full((37, 48, 48, 3), 0.7, np.float32)
    spectrum = Spectrum.from_images(same, {"shard": "1/2"})  # the other may have images that differ
    assert (spectrum.power == 0).all()
    assert (spectrum.standard_error == 0).all()
    for criterion in ("snr", "bits", "budget"):
        with pytest.raises(InputError, match="all the same"):
            derive_schedule(spectrum, NoiseSchedule.linear(), (48, 24), criterion)
    with pytest.raises(InputError, match="all the same"):
        plan_sampling(spectrum, NoiseSchedule.linear(), (48, 24), 10, 0.9)


def test_grey_in_colour_has_no_colour_and_plans_as_grey_does():
    grey = images(200, 16, 1).astype(np.float32)
    alone, repeated = Spectrum.from_images(grey), Spectrum.from_images(grey.repeat(3, axis=3))
    assert (repeated.power[..., 1:] == 0).all()
    np.testing.assert_allclose(repeated.power[..., :1], 3 * alone.power, rtol=1e-5)
    powers = binned_powers(repeated, (16, 8))[0]
    np.testing.assert_allclose(powers, 3 * binned_powers(alone, (16, 8))[0], rtol=1e-5)


def test_memory_does_not_grow_with_the_images():
    def peak(batches):
        x = np.random.default_rng(0).uniform(-1, 1, (256, 16, 16, 3)).astype(np.float32)
        tracemalloc.start()
        Spectrum.from_images((x for _ in range(batches)), threads=2)
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(1)
    assert peak(40) < 1.5 * peak(8)


@pytest.mark.parametrize("operator", ["dct", "box", "bilinear", "lanczos"])
def test_smaller_levels_follow_from_one_pass(operator):
    """On uncorrelated coefficients, as is assumed; exact on any images for dct."""
    rng = np.random.default_rng(0)
    law = Spectrum.power_law(8, 1.5, pixel_variance=0.01)
    coefficients = rng.normal(size=(30_000, 8, 8, 1)) * np.sqrt(law.power)
    x = np.clip(idctn(coefficients, axes=(1, 2), norm="ortho") + 0.1, -1, 1)
    axis = resize_matrix(operator, 8, 4)
    small = np.einsum("ij,njkc,lk->nilc", axis, x, axis)
    measured, derived = (
        Spectrum.from_images(small),
        Spectrum.from_images(x).at_resolution(4, operator),
    )
    tolerance = 1e-8 if operator == "dct" else 0.05
    np.testing.assert_allclose(derived.power, measured.power, rtol=tolerance)
    np.testing.assert_allclose(derived.mean, measured.mean, atol=1e-12)
    if operator == "dct":
        np.testing.assert_allclose(derived.standard_error, measured.standard_error, rtol=1e-6)
    with pytest.raises(InputError, match="between 1 and the spectrum's 4"):
        derived.at_resolution(5)
    with pytest.raises(InputError, match="measure"):
        derived.merge(derived)


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
        arrays = dict(file)
    # Files of earlier versions had moments of another form.
    earlier = {name: arrays[name] for name in names}
    np.savez(tmp_path / "b.npz", **earlier, moments_size=np.array([8, 3, 20, 5, 20]))
    read = Spectrum.load(tmp_path / "b.npz")
    assert read.sha256 == loaded.sha256
    np.testing.assert_array_equal(read.standard_error, loaded.standard_error)
    with pytest.raises(InputError, match="earlier version: measure it again"):
        loaded.merge(read)
    with pytest.raises(InputError, match="earlier version"):
        spectral_exponents(read)
    # Moments of other images than the power's.
    other = Spectrum.from_images(images(size=4)).moments.arrays()
    np.savez(tmp_path / "c.npz", **(arrays | other))
    with pytest.raises(InputError, match=r"c\.npz: spectrum: moments are of images \(4, 4, 3\)"):
        Spectrum.load(tmp_path / "c.npz")


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


def test_a_thread_is_needed():
    with pytest.raises(InputError, match="threads -1: must be at least 1"):
        Spectrum.from_images([np.zeros((2, 4, 4, 3))], threads=-1)


def test_the_batch_with_values_out_of_range_is_named():
    good = images().astype(np.float32)
    with pytest.raises(InputError, match="batch 2: values outside"):
        Spectrum.from_images([good, good, 2 * good / np.abs(good).max(), good])
