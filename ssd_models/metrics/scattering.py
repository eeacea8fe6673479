"""Wavelet scattering: features of images that no training has made (Bruna & Mallat 2013).

Moduli of wavelet coefficients, averaged: order 1 holds how much structure there is of each scale
and direction, order 2 how it is spread over the image. Filters are the Morlet wavelets of the
literature with four directions. The library for them, kymatio 0.3.0, imports a function that SciPy
removed in version 1.17 and so cannot be used beside it; hence this code, whose coefficients agree
with that library's.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, pad

from theory.support.errors import InputError

from .checks import check_images
from .threads import mapped

ANGLES = 4  # L directions, π/L apart
SMALLEST = 16  # pixels
_BATCH = 16  # images that a thread transforms at once
_ALIASES = np.arange(-2, 3) * 2 * np.pi
# Rows: luminance and two opponent colours, orthonormal.
_OPPONENT = (
    np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]]) / np.sqrt([3, 2, 6])[:, None]  # of R, G, B
)


def num_scales(resolution: int) -> int:
    """Number of octaves J: the averages lie on a grid of R/2^J points.

    That is 4 to 7 to a side, or more where R cannot be halved so often.

    Raises
    ------
    InputError
        If R is below 16 or no multiple of 4.
    """
    if resolution < SMALLEST or resolution % 4:
        raise InputError(
            f"scattering: images of {resolution} px cannot be used; reduce them to "
            f"{max(resolution // 4 * 4, SMALLEST)} px, a multiple of 4 from {SMALLEST} on"
        )
    twos = (resolution & -resolution).bit_length() - 1
    return min(resolution.bit_length() - 3, twos)


def scattering_features(images: np.ndarray) -> np.ndarray:
    """Scattering coefficients of images in [-1, 1], averaged to few numbers.

    Parameters
    ----------
    images : (N, R, R, C) uint8
        Of 3 colours, seen as luminance and two opponent colours, or of other channels as they
        are. R is 16 or more and a multiple of 4.

    Returns
    -------
    (N, D) float32
        Order 0 of each colour on the grid of (R/2^J)² points; order 1 of each colour, J · L
        numbers averaged to 2×2 places; order 2 of the luminance, L² J (J − 1)/2 numbers averaged
        over the image. With L = 4 and R a power of two, ``D = C (16 + 16 J) + 8 J (J − 1)``: 240
        for 32 px in colour.

    Raises
    ------
    InputError
        If the images are of another form or size.
    """
    check_images("images", images)
    scales = num_scales(images.shape[1])
    channels = images.shape[3]
    colours = torch.from_numpy(_OPPONENT if channels == 3 else np.eye(channels)).float()

    def of_batch(start: int) -> np.ndarray:
        batch = np.ascontiguousarray(images[start : start + _BATCH])
        x = torch.from_numpy(batch).float() / 127.5 - 1
        zero, one, two = scattering(torch.einsum("kc,nhwc->nkhw", colours, x), scales)
        parts = [zero, adaptive_avg_pool2d(one.flatten(1, 2), 2), two.mean(dim=(2, 3))]
        return torch.cat([part.flatten(1) for part in parts], dim=1).numpy()

    return np.concatenate(mapped(of_batch, range(0, len(images), _BATCH)))


def scattering(x: Tensor, scales: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scattering coefficients up to order 2 on a grid of steps 2^J; order 2 of the first channel.

    Borders are reflected about the outermost pixels. After a wavelet of scale j what follows is
    computed on every 2^j-th pixel, where its band fits up to what a Gaussian leaves beyond.

    Parameters
    ----------
    x : (N, C, R, R) float tensor
        R a multiple of 2^J.
    scales : int
        J.

    Returns
    -------
    zero : (N, C, g, g), one : (N, C, J L, g, g), two : (N, L² J (J − 1)/2, g, g)
        With g = R/2^J. The scale varies slower than the angle, the first wavelet slower than the
        second: ``two`` runs over pairs of scales (0, 1), (0, 2), …, (1, 2), …
    """
    step = 2**scales
    spectrum = torch.fft.fft2(pad(x, (step,) * 4, mode="reflect"))
    size = spectrum.shape[-1]

    def averaged(moduli: Tensor, scale: int) -> Tensor:
        """Low-pass of the transform of moduli on every 2^scale-th pixel, on the grid."""
        low = moduli * low_pass(size, scale, scales)
        return torch.fft.ifft2(_subsampled(low, step >> scale)).real[..., 1:-1, 1:-1]

    zero, one, two = averaged(spectrum, 0), [], []
    for first in range(scales):
        moduli = _moduli(spectrum[:, :, None] * wavelets(size, 0, first), first)
        one.append(averaged(moduli, first))
        for second in range(first + 1, scales):
            waves = wavelets(size, first, second)
            again = _moduli(moduli[:, 0, :, None] * waves, second - first)
            two.append(averaged(again, second).flatten(1, 2))
    return zero, torch.cat(one, dim=2), torch.cat(two, dim=1)


@lru_cache(maxsize=64)
def low_pass(size: int, octave: int, scales: int) -> Tensor:
    """Transfer function of the Gaussian of deviation ``0.8 · 2^(J−1)`` pixels, (n, n) float32.

    At the frequencies of every ``2^octave``-th pixel of ``size``.
    """
    vertical, horizontal = _frequencies(size, octave)
    transfer = _gaussian(vertical, 0.8 * 2 ** (scales - 1)) * _gaussian(
        horizontal, 0.8 * 2 ** (scales - 1)
    )
    return torch.from_numpy(transfer).float()


@lru_cache(maxsize=64)
def wavelets(size: int, octave: int, scale: int) -> Tensor:
    """Transfer functions of the Morlet wavelets of a scale, (L, n, n) float32, real.

    ``ψ̂(ω) = ĝ(ω − ξ) − K ĝ(ω)`` with a Gaussian of deviation ``0.8 · 2^j`` pixels (for four
    directions it is as wide as long), ``|ξ| = 3π/4 · 2^−j``, and K such that the mean is zero;
    repeated with period 2π, as pixels are points. At the frequencies of every ``2^octave``-th pixel
    of ``size``.
    """
    vertical, horizontal = _frequencies(size, octave)
    deviation, centre = 0.8 * 2**scale, 0.75 * np.pi / 2**scale
    found = []
    for angle in np.arange(ANGLES) * np.pi / ANGLES:
        xi = centre * np.cos(angle), centre * np.sin(angle)
        band = _gaussian(vertical - xi[0], deviation) * _gaussian(horizontal - xi[1], deviation)
        low = _gaussian(vertical, deviation) * _gaussian(horizontal, deviation)
        found.append(band - band[0, 0] / low[0, 0] * low)
    return torch.from_numpy(np.stack(found)).float()


def _gaussian(frequency: np.ndarray, deviation: float) -> np.ndarray:
    """Transfer function of a sampled Gaussian of sum 1 along one axis."""
    return np.exp(-((deviation * (frequency[..., None] + _ALIASES)) ** 2) / 2).sum(axis=-1)


def _frequencies(size: int, octave: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in radians a pixel, down (n, 1) and across (1, n)."""
    frequency = 2 * np.pi * np.fft.fftfreq(size >> octave) / 2**octave
    return frequency[:, None], frequency[None]


def _subsampled(spectrum: Tensor, step: int) -> Tensor:
    """Transform of every ``step``-th pixel, from that of all (..., n, n)."""
    n = spectrum.shape[-1] // step
    folded = spectrum.reshape(*spectrum.shape[:-2], step, n, step, n)
    return folded.mean(dim=(-4, -2))


def _moduli(spectrum: Tensor, octaves: int) -> Tensor:
    """Transform of the modulus on every ``2^octaves``-th pixel of what ``spectrum`` transforms."""
    return torch.fft.fft2(torch.fft.ifft2(_subsampled(spectrum, 2**octaves)).abs())
