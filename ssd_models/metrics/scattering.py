"""Wavelet scattering: image features without training (Bruna & Mallat 2013).

Scattering coefficients are averaged moduli of wavelet coefficients: order 1 measures how much
structure an image has at each scale and orientation, order 2 how that structure is distributed over
the image. Filters are Morlet wavelets with four orientations. Coefficients agree with those of
kymatio 0.3.0, which cannot be imported with SciPy 1.17 or later.
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

ANGLES = 4  # number L of orientations, π/L apart
SMALLEST = 16  # smallest resolution in pixels
_BATCH = 16  # images per call of `scattering`
_ALIASES = np.arange(-2, 3) * 2 * np.pi  # shifts of the frequency in radians a pixel
# Rows: luminance and two opponent colours, orthonormal.
_OPPONENT = (
    np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]]) / np.sqrt([3, 2, 6])[:, None]  # of R, G, B
)


def num_scales(resolution: int) -> int:
    """Number of octaves J; coefficients lie on a grid of R/2^J points a side.

    J is the largest number that leaves at least 4 points a side (4 to 7), or the number of times
    that R can be halved if that is smaller.

    Raises
    ------
    InputError
        If R is below 16 or not a multiple of 4.
    """
    if resolution < SMALLEST:
        raise InputError(
            f"scattering: images of {resolution} px cannot be used; give images of {SMALLEST} px "
            "or more"
        )
    if resolution % 4:
        raise InputError(
            f"scattering: images of {resolution} px cannot be used; reduce them to "
            f"{resolution // 4 * 4} px, a multiple of 4"
        )
    twos = (resolution & -resolution).bit_length() - 1
    return min(resolution.bit_length() - 3, twos)


def scattering_features(images: np.ndarray) -> np.ndarray:
    """Scattering coefficients of images in [-1, 1], averaged over space.

    | order | channels | coefficients | averaged to |
    |---|---|---|---|
    | 0 | all | 1 | the grid of (R/2^J)² points |
    | 1 | all | J L | 2 × 2 points |
    | 2 | first (luminance) | L² J (J − 1)/2 | 1 point |

    Parameters
    ----------
    images : (N, R, R, C) uint8
        R at least 16 and a multiple of 4. Three channels are taken as RGB and transformed to
        luminance and two opponent colours; other numbers of channels are not transformed.

    Returns
    -------
    (N, D) float32
        The orders one after another. With L = 4 and R a power of two,
        ``D = C (16 + 16 J) + 8 J (J − 1)``: 240 for RGB of 32 px.

    Raises
    ------
    InputError
        If the images have another type, shape or resolution.
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
    """Scattering coefficients up to order 2 on a grid of spacing 2^J; order 2 of channel 0 only.

    Images are continued by reflection about the outermost pixels. The modulus of a wavelet
    coefficient of scale j is computed on every 2^j-th pixel; the Gaussian tails beyond that
    sampling rate are aliased.

    Parameters
    ----------
    x : (N, C, R, R) float tensor
        R a multiple of 2^J.
    scales : int
        Number of octaves J.

    Returns
    -------
    zero : (N, C, g, g), one : (N, C, J L, g, g), two : (N, L² J (J − 1)/2, g, g)
        g = R/2^J. In ``one`` the scale varies slowest. In ``two`` the pair of scales (0, 1),
        (0, 2), …, (1, 2), … varies slowest, then the angle of the first wavelet.
    """
    step = 2**scales
    spectrum = torch.fft.fft2(pad(x, (step,) * 4, mode="reflect"))
    size = spectrum.shape[-1]

    def averaged(moduli: Tensor, scale: int) -> Tensor:
        """Low-pass filtered moduli on the grid, from their transform on every 2^scale-th pixel."""
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
    """Transfer function of a Gaussian of standard deviation ``0.8 · 2^(J−1)`` pixels.

    Returns
    -------
    (n, n) float32
        At the frequencies of every ``2^octave``-th pixel of ``size``, ``n = size / 2^octave``.
    """
    vertical, horizontal = _frequencies(size, octave)
    transfer = _gaussian(vertical, 0.8 * 2 ** (scales - 1)) * _gaussian(
        horizontal, 0.8 * 2 ** (scales - 1)
    )
    return torch.from_numpy(transfer).float()


@lru_cache(maxsize=64)
def wavelets(size: int, octave: int, scale: int) -> Tensor:
    """Real transfer functions ``ψ̂(ω) = ĝ(ω − ξ) − K ĝ(ω)`` of the Morlet wavelets of scale j.

    ``g`` is an isotropic Gaussian of standard deviation ``0.8 · 2^j`` pixels,
    ``|ξ| = 3π/4 · 2^−j``, and K makes the mean of the wavelet zero. Aliases of the sampled
    wavelets (period 2π) are included.

    Returns
    -------
    (L, n, n) float32
        At the frequencies of every ``2^octave``-th pixel of ``size``, ``n = size / 2^octave``.
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
    """Transfer function of a normalized Gaussian along one axis, with its aliases."""
    return np.exp(-((deviation * (frequency[..., None] + _ALIASES)) ** 2) / 2).sum(axis=-1)


def _frequencies(size: int, octave: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in radians a pixel, down (n, 1) and across (1, n)."""
    frequency = 2 * np.pi * np.fft.fftfreq(size >> octave) / 2**octave
    return frequency[:, None], frequency[None]


def _subsampled(spectrum: Tensor, step: int) -> Tensor:
    """Fourier transform of every ``step``-th pixel, from that of all pixels (..., n, n)."""
    n = spectrum.shape[-1] // step
    folded = spectrum.reshape(*spectrum.shape[:-2], step, n, step, n)
    return folded.mean(dim=(-4, -2))


def _moduli(spectrum: Tensor, octaves: int) -> Tensor:
    """Fourier transform of the modulus on every ``2^octaves``-th pixel of a transformed image."""
    return torch.fft.fft2(torch.fft.ifft2(_subsampled(spectrum, 2**octaves)).abs())
