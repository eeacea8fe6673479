"""Faults of a dataset's making that show in its spectrum: aliasing, JPEG, enlargement."""

from __future__ import annotations

import numpy as np

from .bands import octave_power
from .exponents import ratio, spectral_exponents
from .spectrum import Spectrum

_FEW = 8  # images below which a spectrum says little of its dataset


def high_frequency_share(spectrum: Spectrum) -> float:
    """Share of power above ¼ cycle per pixel, of all but the constant coefficient."""
    index = np.arange(spectrum.resolution)
    high = np.hypot(index[:, None], index) > spectrum.resolution / 2
    power = spectrum.power.sum(axis=-1)
    return float(ratio(power[high].sum(), power.sum() - power[0, 0]))


def chroma_ratio(spectrum: Spectrum) -> np.ndarray:
    """Power of the weaker colour components over the strongest one's, per octave: (octaves,)."""
    power = [octave_power(spectrum.power[..., c : c + 1]) for c in range(spectrum.channels)]
    return ratio(np.sum(power[1:], axis=0), power[0])


def spectrum_warnings(spectrum: Spectrum) -> list[str]:
    """Faults of the images that show in their spectrum, a line each.

    * Aliased: detail beyond the pixel grid was folded back, so power falls less steeply in the last
      octave than in the one before. Step of the exponent: photographs reduced without a filter
      −0.8, by averages of two pixels of four −0.6, by box +0.2, by Lanczos +0.9; Tiny-ImageNet
      −1.0.
    * Colour detail missing: JPEG with halved colour planes (4:2:0) takes colour out of the last
      octave. Its share there over that two octaves below: halved planes 0.17, full planes 0.47, no
      JPEG 0.68; Tiny-ImageNet 0.06, aligned faces 0.39.
    * No fine detail: the images were blurred or enlarged. Exponent of the last octave: enlarged
      twofold 7.2, aligned faces 4.9, photographs 3.5.
    * Few images: below 8. Intervals are wide, and of two images they are points.

    ``figures/dataset_faults.py`` measures these numbers.

    Parameters
    ----------
    spectrum : Spectrum
        Without moments of images, or below 16 pixels, it gives no warnings.

    Returns
    -------
    list of str
    """
    if spectrum.moments is None or spectrum.resolution < 16:
        return []
    warnings = []
    if spectrum.count < _FEW:
        warnings.append(f"few images: {spectrum.count} say little of a dataset")
    fit = spectral_exponents(spectrum)
    last, before = fit.exponent[-1], fit.exponent[-2]
    if last < before - 0.4 and fit.interval[-1, 1] < fit.interval[-2, 0]:
        warnings.append(
            f"aliased: power falls as 1/f^{before:.1f} and in the last octave only as "
            f"1/f^{last:.1f} ({high_frequency_share(spectrum):.1%} of it above 1/4 cycle per "
            "pixel); the images were reduced without a filter, and their finest detail is false"
        )
    if last > 6:
        warnings.append(
            f"no fine detail: power falls as 1/f^{last:.1f} in the last octave; the images were "
            "blurred or enlarged, and half the resolution would hold them"
        )
    if spectrum.channels > 1:
        chroma = chroma_ratio(spectrum)
        if chroma[-1] < 0.25 * chroma[-3]:
            warnings.append(
                f"colour detail missing: the weaker colours have {chroma[-1]:.1%} of the strongest "
                f"one's power in the last octave, {chroma[-3]:.1%} two octaves below; JPEG with "
                "halved colour planes looks like this"
            )
    return warnings
