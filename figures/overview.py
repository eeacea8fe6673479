"""Overview: lossless states, signal-to-noise ratios with schedules, and cost against error.

python figures/overview.py [DATA]
"""

from __future__ import annotations

import sys

import numpy as np
from measured import NOISE, SIZE, shown, spectrum
from noise_and_resolution import averaged
from pareto import draw_chains
from scipy.fft import dctn, idctn
from snr_map import draw
from style import new_figure, save, save_table

from theory import ResolutionSchedule, derive_schedule

STEPS = (60, 200, 350)


def main(data: str = "photos") -> None:
    """Draw the three panels."""
    x0, power = shown(data), spectrum(data)
    noise = np.random.default_rng(0).standard_normal((SIZE, SIZE, 3))
    schedule = derive_schedule(power, NOISE)
    figure = new_figure(9.6, 3.1)
    left, middle, right = figure.subfigures(1, 3, width_ratios=(0.95, 1.15, 1.1))
    cells = left.subplots(len(STEPS), 3, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
    for line, t in zip(cells, STEPS, strict=True):
        r = int(schedule.resolutions[t])
        signal, state = faded(x0, noise, schedule, t)
        noisy = averaged(x0, noise, t, SIZE)
        for cell, picture in zip(line, (noisy, signal, state), strict=True):
            cell.imshow(np.clip(picture / 2 + 0.5, 0, 1), interpolation="nearest")
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
        line[0].set_ylabel(f"t = {t}")
        line[2].set_xlabel(f"{r} px", labelpad=1)
    for cell, title in zip(cells[0], ("noise", "over the water", "the state"), strict=True):
        cell.set_title(title)

    axes = middle.subplots()
    _, drawn = draw(axes, power)
    axes.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    middle.colorbar(drawn, ax=axes, label="signal over noise, dB")

    axes = right.subplots()
    rows, _ = draw_chains(axes, power)
    axes.legend(loc="center right", bbox_to_anchor=(1.04, 0.36), handlelength=1.2)
    axes.set(title="what a perfect denoiser makes of 1000 steps")
    save(figure, "overview")
    save_table("overview", ["chain", "kind", "cost_full_resolution_calls", "relative_w2"], rows)


def faded(
    x0: np.ndarray, noise: np.ndarray, schedule: ResolutionSchedule, t: int
) -> tuple[np.ndarray, np.ndarray]:
    """Attenuated signal at step ``t`` at 64 pixels, and the state at its own resolution.

    ``x0`` and ``noise`` are (64, 64, 3). The state is normalized to ``a² + σ² = 1``.
    """
    r = int(schedule.resolutions[t])
    gains = schedule.signal_gains(t)[:, :, None] / schedule.alpha[t] * (SIZE / r)
    kept = dctn(x0, axes=(0, 1), norm="ortho") * gains
    small = idctn(kept[:r, :r] * (r / SIZE), axes=(0, 1), norm="ortho")
    drawn = idctn(dctn(noise, axes=(0, 1), norm="ortho")[:r, :r], axes=(0, 1), norm="ortho")
    state = schedule.alpha[t] * small + schedule.sigma[t] * drawn
    return idctn(kept, axes=(0, 1), norm="ortho"), state / np.hypot(
        schedule.alpha[t], schedule.sigma[t]
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
