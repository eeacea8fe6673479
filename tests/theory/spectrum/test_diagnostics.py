"""Exponents of known power laws, faults of datasets, shards, and convergence."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.fft import idctn

from ssd_models.data.opening import open_images, to_float
from theory import InputError, Spectrum
from theory.spectrum.convergence import convergence
from theory.spectrum.diagnostics import high_frequency_share, spectrum_warnings
from theory.spectrum.exponents import radial_octave_power, spectral_exponents
from theory.spectrum.shards import merge_spectra, parse_shard, shard_indices
from theory.spectrum.streaming import block_size


def assert_agree(one, other):
    assert one.count == other.count
    for name in ("power", "mean", "colour_basis", "standard_error"):
        mine, theirs = getattr(one, name), getattr(other, name)
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12 * np.abs(theirs).max())


def law_images(exponent, n=600, size=32, seed=0):
    rng = np.random.default_rng(seed)
    power = Spectrum.power_law(size, exponent, pixel_variance=0.02).power
    return np.clip(
        idctn(rng.normal(size=(n, size, size, 1)) * np.sqrt(power), axes=(1, 2), norm="ortho"),
        -1,
        1,
    )


@pytest.mark.parametrize("exponent", [1.5, 2.0, 2.5, 3.0])
def test_known_exponents_lie_in_the_stated_intervals(exponent):
    fit = spectral_exponents(Spectrum.from_images(law_images(exponent)))
    low, high = fit.overall_interval
    assert low <= exponent <= high
    assert high - low < 0.05
    assert fit.edges[0] == 1 / 64
    assert fit.edges[-1] == 0.5
    inside = (fit.interval[:, 0] <= exponent) & (exponent <= fit.interval[:, 1])
    assert inside.sum() >= len(fit.exponent) - 1  # of five 95 % intervals one may miss
    np.testing.assert_allclose(fit.exponent[2:], exponent, atol=0.1)


def test_intervals_cover_as_often_as_they_say():
    hits = 0
    for seed in range(60):
        fit = spectral_exponents(Spectrum.from_images(law_images(2.0, 100, 8, seed)))
        hits += fit.overall_interval[0] <= 2.0 <= fit.overall_interval[1]
    assert 50 <= hits <= 60


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", range(2, 9))
def test_few_images_have_intervals_too(count):
    spectrum = Spectrum.from_images(law_images(2.0, count, 16))
    fit = spectral_exponents(spectrum)
    assert np.isfinite(fit.interval).all()
    assert fit.overall_interval[0] <= fit.overall_interval[1]
    assert np.isfinite(radial_octave_power(spectrum)[1]).all()
    few = [warning for warning in spectrum_warnings(spectrum) if warning.startswith("few images")]
    assert len(few) == (count < 8)


@pytest.mark.filterwarnings("error")
def test_images_of_one_colour_each_have_no_detail_to_warn_of():
    flat = np.random.default_rng(0).uniform(-1, 1, (40, 1, 1, 3)).repeat(16, 1).repeat(16, 2)
    spectrum = Spectrum.from_images(flat)
    assert high_frequency_share(spectrum) == 0
    spectrum_warnings(spectrum)


def test_intervals_shrink_with_the_root_of_the_number():
    x = law_images(2.0, 1600)
    few, many = (radial_octave_power(Spectrum.from_images(x[:n]))[1] for n in (400, 1600))
    np.testing.assert_allclose(few / many, 2, rtol=0.35)


def test_what_was_not_measured_has_no_intervals():
    law = Spectrum.power_law(32, 2)
    with pytest.raises(InputError, match="not measured"):
        spectral_exponents(law)
    assert spectrum_warnings(law) == []


@pytest.fixture(scope="module")
def photographs():
    return open_images("photos", 128, limit=400).load()


def warned(images):
    warnings = spectrum_warnings(Spectrum.from_images(to_float(np.ascontiguousarray(images))))
    return [warning.split(":")[0] for warning in warnings]


def each(images, change):
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


def jpeg(image, subsampling):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75, subsampling=subsampling)
    return Image.open(buffer).convert("RGB")


def test_faults_are_named_and_sound_images_are_not(photographs):
    small = each(photographs, lambda image: image.resize((32, 32), Image.Resampling.LANCZOS))
    assert warned(small) == []
    assert warned(photographs) == []
    assert warned(each(small, lambda image: jpeg(image, 0))) == []
    assert warned(photographs[:, 1::4, 1::4]) == ["aliased"]
    assert warned(each(small, lambda image: jpeg(image, 2))) == ["colour detail missing"]
    enlarged = each(small, lambda image: image.resize((64, 64), Image.Resampling.BICUBIC))
    assert warned(enlarged) == ["no fine detail"]
    grey = small.mean(axis=-1, keepdims=True).astype(np.uint8).repeat(3, axis=-1)
    assert warned(grey) == []
    sound, false = (
        high_frequency_share(Spectrum.from_images(to_float(np.ascontiguousarray(x))))
        for x in (small, photographs[:, 1::4, 1::4])
    )
    assert false > 1.5 * sound


def test_convergence_ends_at_the_whole():
    x = law_images(2.0, 300, 16)
    result = convergence(x)
    assert result.counts.tolist() == [64, 128, 256, 300]
    np.testing.assert_allclose(result.power[-1], convergence(x[::-1].copy()).power[-1], rtol=0.05)
    off = np.abs(result.power[:-1] / result.power[-1] - 1)
    assert (off < 5 * result.standard_error[:-1]).all()
    with pytest.raises(InputError, match="at least 128"):
        convergence(x[:100])


def test_shards_are_whole_blocks_and_merge_to_one_pass():
    x = law_images(2.0, 3000, 8)
    block = block_size(8)
    assert block == 1024
    parts = {}
    for i in (1, 2, 3):
        ranges = shard_indices(3000, block, (i, 3))
        meta = {"source": "x", "images": 3000, "shard": f"{i}/3"}
        parts[f"{i}.npz"] = Spectrum.from_images(
            np.concatenate([x[r.start : r.stop] for r in ranges]), meta
        )
    whole = Spectrum.from_images(x, {"source": "x", "images": 3000})
    merged, missing = merge_spectra(dict(reversed(parts.items())))
    assert missing == []
    assert merged.meta == whole.meta
    assert_agree(merged, whole)

    some, missing = merge_spectra({k: parts[k] for k in ("3.npz", "1.npz")})
    assert missing == ["2/3"]
    assert some.meta["shard"] == "1/3 3/3"
    again, missing = merge_spectra({"some": some, "2.npz": parts["2.npz"]})
    assert missing == []
    assert_agree(again, whole)

    def renamed(**meta):
        return Spectrum.from_moments(parts["2.npz"].moments, {**parts["2.npz"].meta, **meta})

    for other, said in (
        (whole, "is a shard, other is not"),
        (parts["1.npz"], "both hold shard 1/3"),
        (renamed(source="y"), "source is 'y' and 'x'"),
        (renamed(shard="2/4"), "other is one of 4 shards"),
    ):
        with pytest.raises(InputError, match=said):
            merge_spectra({"1.npz": parts["1.npz"], "other": other})
    with pytest.raises(InputError, match="no spectrum"):
        merge_spectra({})
    datasets, missing = merge_spectra({"a": whole, "b": whole})
    assert (datasets.count, missing) == (6000, [])


@pytest.mark.parametrize("text", ["3", "0/2", "3/2", "a/b", "1/0", "-1/2"])
def test_shards_are_written_i_of_n(text):
    with pytest.raises(InputError, match="write i/n"):
        parse_shard(text)
    with pytest.raises(InputError, match="there can be 2 shards at most"):
        shard_indices(1500, 1024, (3, 3))


def test_a_shard_may_hold_a_single_image():
    x = law_images(2.0, 1025, 8)
    parts = [
        Spectrum.from_images(x[a:b], {"images": 1025, "shard": f"{i}/2"})
        for i, a, b in ((1, 0, 1024), (2, 1024, 1025))
    ]
    merged, _ = merge_spectra({"a": parts[0], "b": parts[1]})
    assert_agree(merged, Spectrum.from_images(x))


def test_some_shards_may_hold_one_image_over_and_over_but_not_all():
    black, white = -np.ones((2, 4, 4, 1)), np.ones((2, 4, 4, 1))

    def shards(*parts, n):
        return {
            str(i): Spectrum.from_images(x, {"shard": f"{i}/{n}"}) for i, x in enumerate(parts, 1)
        }

    some, missing = merge_spectra(shards(black, black, n=3))
    assert (some.count, missing) == (4, ["3/3"])
    assert not some.power.any()
    assert merge_spectra(shards(black, white, n=2))[0].power[0, 0, 0] > 1
    with pytest.raises(InputError, match="all the same"):
        merge_spectra(shards(black, black, n=2))
