"""Distances between sets of images: nothing between two halves, and more the more is changed."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from helpers import refusal
from scipy import ndimage
from scipy.linalg import sqrtm

from ssd_models.data.opening import open_images, to_float, to_uint8
from ssd_models.metrics.estimates import half_width, jackknife
from ssd_models.metrics.evaluation import distances, evaluate_images, table
from ssd_models.metrics.frechet import frechet_distance, frechet_scattering
from ssd_models.metrics.neighbours import memorization, nearest_distances
from ssd_models.metrics.octaves import octave_decibels_estimate
from ssd_models.metrics.scattering import (
    ANGLES,
    low_pass,
    num_scales,
    scattering,
    scattering_features,
    wavelets,
)
from ssd_models.metrics.sliced_wasserstein import (
    laplacian_level,
    patch_places,
    pyramid_sides,
    sliced_wasserstein,
    slices,
)
from ssd_models.metrics.threads import mapped
from theory import Spectrum
from theory.oracle.report import octave_decibels

COUNT, SIZE = 400, 32


@pytest.fixture(scope="module")
def photos():
    """Crops of the built-in photographs, in a random order."""
    images = open_images("photos", SIZE, limit=2 * COUNT).load()
    return images[np.random.default_rng(1).permutation(len(images))]


def blurred(images, deviation):
    smooth = ndimage.gaussian_filter(images.astype(np.float32), (0, deviation, deviation, 0))
    return smooth.round().astype(np.uint8)


def noisy(images, deviation):
    noise = np.random.default_rng(2).normal(size=images.shape) * deviation
    return (images + noise).round().clip(0, 255).astype(np.uint8)


def reddened(images, amount):
    return (images + np.array([amount, 0, -amount])).round().clip(0, 255).astype(np.uint8)


CHANGES = {
    "blur": (blurred, (0.4, 0.7, 1.5)),
    "noise": (noisy, (6, 12, 30)),
    "colour": (reddened, (10, 25, 60)),
}
METRICS = {
    "frechet": lambda a, b: float(frechet_scattering(a, b).value),
    "wasserstein": lambda a, b: float(
        sliced_wasserstein(a, b, patches=32, directions=32).value[-1]
    ),
    "decibels": lambda a, b: float(np.abs(octave_decibels_estimate(a, b).value).max()),
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("change", CHANGES)
def test_distances_grow_with_what_is_done_to_images(photos, metric, change):
    if (metric, change) == ("decibels", "colour"):
        pytest.skip("a shift of all images alike has no power")
    function, amounts = CHANGES[change]
    real, other = photos[:COUNT], photos[COUNT:]
    found = [METRICS[metric](real, other)]
    found += [METRICS[metric](function(real, amount), other) for amount in amounts]
    # Sets are normalized by colour in the Wasserstein distance: a shift shows by clipping only.
    allowed = 0.2 * found[0] if (metric, change) == ("wasserstein", "colour") else 0
    assert (np.diff(found) > -allowed).all(), found
    assert found[-1] > (1.2 if allowed else 2) * found[0], found


def test_two_halves_are_as_far_apart_as_chance_makes_them(photos):
    """Nine splits of real images: estimates scatter as their own errors say."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(9):
        order = rng.permutation(len(photos))
        found.append(octave_decibels_estimate(photos[order[:COUNT]], photos[order[COUNT:]]))
    values = np.array([estimate.value for estimate in found])
    errors = np.array([estimate.standard_error for estimate in found])
    # Halves of one set exclude each other, so they differ by what two draws would: same variance.
    assert (np.abs(values.mean(axis=0)) < 4 * errors.mean(axis=0) / 3).all()
    ratio = np.sqrt((values**2).mean(axis=0)) / errors.mean(axis=0)
    assert 0.5 < ratio.mean() < 1.6
    same = sliced_wasserstein(photos[:60], photos[:60], patches=8, directions=8, repeats=1)
    assert same.value.min() > 0  # other patches of the same images
    assert frechet_distance(np.eye(3), np.eye(3)) == pytest.approx(0, abs=1e-12)


def test_the_jackknife_knows_the_error_of_a_mean():
    rng = np.random.default_rng(4)
    found = [
        jackknife(lambda a, b: a.mean() - b.mean(), rng.normal(size=200), rng.normal(size=50))
        for _ in range(1000)
    ]
    expected = np.sqrt(1 / 200 + 1 / 50)
    assert np.mean([e.standard_error for e in found]) == pytest.approx(expected, rel=0.05)
    assert np.std([e.value for e in found]) == pytest.approx(expected, rel=0.1)
    inside = [e.interval[0] < 0 < e.interval[1] for e in found]
    assert 0.935 < np.mean(inside) < 0.97  # 0.92 if it were ± 1.96 standard errors


def test_octaves_are_those_of_the_spectra(photos):
    one, other = photos[:COUNT], blurred(photos[COUNT:], 1)
    spectra = [Spectrum.from_images([to_float(images)]) for images in (one, other)]
    np.testing.assert_allclose(
        octave_decibels_estimate(one, other).value,
        octave_decibels(spectra[0].power, spectra[1].power),
        atol=1e-3,
    )


def plain_wasserstein(sampled, reference, seed, patches, count):
    """The distance as the paper describes it (Karras et al. 2018), image by image."""
    weights = np.array([1, 4, 6, 4, 1]) / 16
    kernel = np.outer(weights, weights)
    found = []
    for level, side in enumerate(pyramid_sides(sampled.shape[1])):
        projections = []
        for stream, images in enumerate((sampled, reference)):
            places = patch_places(seed, level, stream, len(images), side, patches)
            rows = []
            for image, corners in zip(images, places, strict=True):
                pyramid = []
                channels = [image[..., c].astype(float) for c in range(image.shape[-1])]
                for depth in range(level + 1):
                    last = depth == len(pyramid_sides(sampled.shape[1])) - 1
                    smaller = [
                        ndimage.convolve(c, kernel, mode="mirror")[::2, ::2] for c in channels
                    ]
                    band = channels
                    if not last:
                        band = []
                        for channel, small in zip(channels, smaller, strict=True):
                            spread = np.zeros_like(channel)
                            spread[::2, ::2] = small
                            band.append(
                                channel - ndimage.convolve(spread, 4 * kernel, mode="mirror")
                            )
                    pyramid.append(np.stack(band, axis=-1))
                    channels = smaller
                rows += [pyramid[level][y : y + 7, x : x + 7] for y, x in corners]
            rows = np.stack(rows)
            rows = rows - rows.mean(axis=(0, 1, 2))
            rows = rows / rows.std(axis=(0, 1, 2))
            along = slices(seed, level, 49 * image.shape[-1], count)
            projections.append(np.sort(rows.reshape(len(rows), -1) @ along.T, axis=0))
        found.append(1000 * np.abs(projections[0] - projections[1]).mean())
    return [*found, np.mean(found)]


def test_sliced_wasserstein_is_the_published_distance(photos):
    one, other = photos[:20], noisy(photos[20:40], 20)
    found = sliced_wasserstein(one, other, seed=5, patches=6, directions=8, repeats=2)
    np.testing.assert_allclose(found.value, plain_wasserstein(one, other, 5, 6, 16), rtol=1e-4)
    assert found.replicates.shape == (10, 3)
    levels = [laplacian_level(one.astype(np.float32), level) for level in (0, 1)]
    assert [band.shape[1] for band in levels] == [32, 16]


def test_frechet_distance_is_that_of_gaussians():
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)), rng.normal(size=(200, 5)) + 1
    one, other = np.cov(a.T), np.cov(b.T)
    root = sqrtm(one @ other).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(one + other - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    # Along axes: the sum of squared differences of means and of deviations; and a constant feature.
    signs = np.array([[1, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]]) * np.sqrt(3 / 4)
    scaled = signs * np.array([3, 2, 0]) + np.array([0, 1, 4])
    assert frechet_distance(signs, scaled) == pytest.approx(4 + 1 + 1 + 16, rel=1e-9)


def test_a_wave_has_the_scattering_of_morlet_wavelets():
    """Half the transfer function, whose closed form is the literature's; moduli of waves are flat.

    A cosine about the first and the last pixel goes on over the reflected borders as it is.
    """
    scales, cycles = 3, 14
    frequency = np.pi * cycles / (SIZE - 1)
    wave = np.cos(frequency * np.arange(SIZE))
    for image, along in ((np.tile(wave, (SIZE, 1)), 2), (np.tile(wave[:, None], SIZE), 0)):
        zero, one, two = scattering(torch.from_numpy(image)[None, None].float(), scales)
        for scale in (0, 1):
            deviation, centre = 0.8 * 2**scale, 0.75 * np.pi / 2**scale

            def gaussian(distance, deviation=deviation):
                return np.exp(-((deviation * distance) ** 2) / 2)

            mean = gaussian(centre) * gaussian(frequency)
            expected = (gaussian(frequency - centre) - mean) / 2
            found = one[0, 0, scale * ANGLES + along, 1:-1, 1:-1]
            np.testing.assert_allclose(found, expected, rtol=0.03)
            assert expected > 0.15
        assert zero[..., 1:-1, 1:-1].abs().max() < 1e-3
        assert two[..., 1:-1, 1:-1].max() < 0.03


def morlet(scale, angle):
    """The wavelet as the literature writes it, on pixels: a wave less its mean in a Gaussian."""
    deviation, centre = 0.8 * 2**scale, 0.75 * np.pi / 2**scale
    reach = np.arange(-20, 21)
    row, column = np.meshgrid(reach, reach, indexing="ij")
    window = np.exp(-(row**2 + column**2) / (2 * deviation**2)) / (2 * np.pi * deviation**2)
    wave = window * np.exp(1j * centre * (row * np.cos(angle) + column * np.sin(angle)))
    return wave - wave.sum() / window.sum() * window


def test_coefficients_by_convolution():
    image = np.random.default_rng(7).normal(size=(SIZE, SIZE)).astype(np.float32)
    image = ndimage.gaussian_filter(image, 0.5)
    scales, step = 3, 8
    zero, one, two = (part[0].numpy() for part in scattering(torch.tensor(image)[None, None], 3))

    def convolved(values, kernel):
        parts = [ndimage.convolve(values, part, mode="wrap") for part in (kernel.real, kernel.imag)]
        return np.hypot(*parts)

    def averaged(values):
        low = ndimage.gaussian_filter(values, 0.8 * 2 ** (scales - 1), mode="wrap", truncate=8)
        return low[step:-step:step, step:-step:step]

    padded = np.pad(image, step, mode="reflect")
    np.testing.assert_allclose(zero[0], averaged(padded), atol=1e-3)
    for scale, allowed in ((1, 3e-2), (0, 1e-5)):  # pixels that are left out alias a little
        first = convolved(padded, morlet(scale, np.pi / 2))
        np.testing.assert_allclose(one[0, scale * ANGLES + 2], averaged(first), rtol=allowed)
    second = averaged(convolved(first, morlet(1, np.pi / 4)))
    place = 2 * ANGLES + 1  # of the scales 0, 1: angles π/2, then π/4
    np.testing.assert_allclose(two[place], second, rtol=3e-2)


def test_scattering_contracts_and_has_its_size():
    rng = np.random.default_rng(8)
    images = rng.integers(0, 256, (24, SIZE, SIZE, 3), dtype=np.uint8)
    assert scattering_features(images).shape == (24, 240)
    assert scattering_features(images[:, ::2, ::2, :1]).shape == (24, 16 + 2 * 4 * 4 + 16)
    scales, step = 3, 2**3
    power = low_pass(SIZE + 2 * step, 0, scales) ** 2
    for scale in range(scales):  # of real images, whose frequencies come in pairs ω, −ω
        squares = (wavelets(SIZE + 2 * step, 0, scale) ** 2).sum(dim=0)
        power += (squares + squares.flip(0, 1).roll((1, 1), (0, 1))) / 2
    assert 0.1 < power.min() < power.max() < 1 + 1e-5  # Littlewood-Paley: no frequency is lost
    x = torch.from_numpy(rng.normal(size=(SIZE, SIZE))).float()
    for y in (x + 0.5, x.flip(0), torch.from_numpy(rng.normal(size=(SIZE, SIZE))).float()):
        parts = [part.flatten(1) for part in scattering(torch.stack([x, y])[:, None], scales)]
        apart = torch.cat(parts, dim=1).diff(dim=0).norm() * step  # a point stands for 64 pixels
        assert apart < np.linalg.norm(np.pad(x - y, step, mode="reflect"))
    for side in (1, 8, 12, 15):
        said = f"images of {side} px cannot be used; give images of 16 px or more"
        assert said in refusal(lambda side=side: num_scales(side))
    assert num_scales(16) == 2
    assert "17 px cannot be used; reduce them to 16 px" in refusal(lambda: num_scales(17))
    assert "cannot be used; reduce them" in refusal(
        lambda: scattering_features(images[:, :30, :30])
    )


def test_copies_are_found(photos):
    training, new = photos[:500], photos[500:]
    distances_ = nearest_distances(photos[498:502], training)
    assert (distances_[:2] == 0).all()
    assert (distances_[2:] > 0).all()
    values = to_float(training).reshape(500, -1).astype(float)
    own = to_float(new[:3]).reshape(3, -1).astype(float)
    expected = np.sqrt(((own[:, None] - values[None]) ** 2).sum(-1)).min(axis=1)
    np.testing.assert_allclose(nearest_distances(new[:3], training), expected, rtol=1e-5)
    assert memorization(training[:100], new, training).value[1] == 1
    honest = memorization(new[::2], new[1::2], training)
    assert honest.value[0] == pytest.approx(1, abs=4 * honest.standard_error[0])
    assert honest.value[1] < 0.1


def test_evaluation_names_counts_and_errors(photos):
    worse = blurred(photos[:60], 1)
    result = evaluate_images(worse, photos[60:300], photos[60:], photos[300:340], seed=1)
    assert result["counts"] == {
        "sampled": 60, "reference": 60, "training": 740, "held_out": 40, "baseline": 60
    }  # fmt: skip
    highest, same = (result[k]["octave_decibels"]["interval"] for k in ("metrics", "baseline"))
    assert highest[1][-1] < -3 < same[0][-1]
    frechet = result["metrics"]["frechet_scattering"]
    low, high = frechet["interval"]
    assert high - frechet["value"] == pytest.approx(half_width(frechet["standard_error"]))
    assert list(result["metrics"]["sliced_wasserstein"]["value"]) == ["32", "16", "mean"]
    shown = table(result)
    row = next(line.split() for line in shown.splitlines() if line.startswith("frechet"))
    assert row[2:5] == [f"{number:.3f}" for number in (frechet["value"], low, high)]
    assert "60 sampled, 60 reference" in shown
    known = {"an earlier one": 1}
    kept = evaluate_images(worse, photos[60:300], seed=1, baseline=known)
    assert kept["baseline"] is known
    assert kept["metrics"]["frechet_scattering"] == frechet
    again = distances(worse, photos[60:120], seed=1)
    assert list(again) == ["frechet_scattering", "sliced_wasserstein", "octave_decibels"]
    flat = evaluate_images(np.full_like(worse, 7), photos[:100], seed=1)
    assert flat["counts"]["baseline"] == 50
    assert flat["metrics"]["octave_decibels"]["value"] == [None] * 5  # no power: minus infinity
    json.dumps(flat, allow_nan=False)
    assert "of 50 images each, fewer than compared" in table(flat)
    few = refusal(lambda: evaluate_images(worse[:10], photos))
    assert "needs at least 20 generated and 40 real images, got 10" in few
    other = refusal(lambda: evaluate_images(to_uint8(to_float(worse))[:, ::2, ::2], photos))
    assert "have 16 px and 3 channels, the reference images 32 px" in other


def test_of_more_samples_than_real_images_some_are_taken_at_random(photos):
    """Not the first ones, which may all be of one class."""
    ordered = np.concatenate([photos[:50], np.zeros_like(photos[:150])])
    power = evaluate_images(ordered, photos[300:350])["metrics"]["octave_decibels"]["value"]
    assert max(power[1:]) < -3


def test_the_error_of_samples_does_not_depend_on_their_order(photos):
    """Classes in turn: a jackknife group must not be a single class."""
    classes = np.concatenate([photos[:200] // (1 + i) for i in range(5)])
    in_turn = classes.reshape(5, 200, *photos.shape[1:]).swapaxes(0, 1).reshape(classes.shape)
    errors = [
        evaluate_images(samples, photos[200:400])["metrics"]["octave_decibels"]["standard_error"]
        for samples in (classes[np.random.default_rng(0).permutation(1000)], in_turn)
    ]
    assert max(errors[1]) < 2 * max(errors[0])


def test_work_in_threads_leaves_those_of_others_alone():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert mapped(lambda i: (i, torch.get_num_threads()), range(3)) == [(0, 1), (1, 1), (2, 1)]
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
