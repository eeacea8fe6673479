"""Cost of changes of resolution for non-Gaussian data: jumps, corrected jumps and attenuation.

The data are a field with a known exact denoiser: DCT coefficients are independent Gaussian scale
mixtures, of variance S/3 with probability 0.9 and 7 S with probability 0.1 (kurtosis 15). The
samplers of the package run on it with all steps of the chain. ``python results/change_costs.py``
writes change_costs.json and change_costs.md to this folder in a few minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssd_models import ScaleSpaceProcess, sample_dpmpp_2m
from theory import (
    NoiseSchedule,
    ResolutionSchedule,
    Spectrum,
    change_divergence,
    derive_schedule,
)
from theory.images.operators import dct_basis
from theory.support.files import atomic_path, write_json
from theory.support.tables import markdown_table

SIZE, LEVELS, EXPONENT, STEPS, COUNT = 16, (16, 8), 2.5, 400, 3072
WEIGHTS, SCALES = np.array([0.9, 0.1]), np.array([1 / 3, 7.0])  # mean variance 1
TOLERANCES = (0.1, 0.3, 1.0)


class ScaleMixture:
    """Field of Gaussian scale mixtures; calling it is its exact denoiser, like a network."""

    def __init__(self, spectrum: Spectrum, process: ScaleSpaceProcess):
        self.power = torch.from_numpy(spectrum.power[:, :, 0])
        self.process = process

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw clean images, (count, 1, R, R) float64."""
        shape = (count, 1, *self.power.shape)
        wide = torch.rand(shape, generator=generator, dtype=torch.float64) < WEIGHTS[1]
        scale = torch.where(wide, SCALES[1], SCALES[0])
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        basis = torch.from_numpy(dct_basis(SIZE))
        return basis.T @ (noise * (scale * self.power).sqrt()) @ basis

    def __call__(self, x: Tensor, t: int, out_resolution: int) -> Tensor:
        """``E[clean image at out_resolution | x_t]``."""
        schedule, side = self.process.schedule, x.shape[-1]
        basis = torch.from_numpy(dct_basis(side))
        gamma = torch.from_numpy(schedule.signal_gains(t)[:side, :side]) / schedule.sigma[t]
        z = basis @ x @ basis.T / schedule.sigma[t]
        scales = torch.from_numpy(SCALES)[:, None, None, None, None] * self.power[:side, :side]
        variance = 1 + gamma**2 * scales
        evidence = torch.from_numpy(np.log(WEIGHTS))[:, None, None, None, None] - 0.5 * (
            variance.log() + z**2 / variance
        )
        clean = (evidence.softmax(dim=0) * gamma * scales / variance * z).sum(dim=0)
        wide = torch.zeros(*x.shape[:2], out_resolution, out_resolution, dtype=x.dtype)
        wide[..., :side, :side] = clean * (out_resolution / SIZE)
        out = torch.from_numpy(dct_basis(out_resolution))
        return out.T @ wide @ out


def divergences(snr: float, corrected: bool) -> float:
    """Divergence ``KL(truth ‖ jump)`` of one coefficient in nats, by quadrature.

    The true state of the coefficient is signal plus noise. A jump replaces it by noise n, as
    coefficients are independent; a corrected jump by ``n + ½ m x̂(n)``, whose density follows by
    change of variables.

    Parameters
    ----------
    snr : float
        Signal-to-noise ratio ``snr_t S`` of the coefficient.
    corrected : bool
    """
    grid = np.linspace(-40, 40, 400_001)
    variances = 1 + snr * SCALES

    logs = np.log(WEIGHTS)[:, None] - 0.5 * (
        grid**2 / variances[:, None] + np.log(2 * np.pi * variances)[:, None]
    )
    log_truth = np.logaddexp.reduce(logs)
    truth = np.exp(log_truth)
    log_jump = -0.5 * grid**2 - 0.5 * np.log(2 * np.pi)
    if corrected:
        share = (np.exp(logs - log_truth) * (snr * SCALES / variances)[:, None]).sum(axis=0)
        moved = grid + 0.5 * share * grid
        log_jump = np.interp(grid, moved, log_jump - np.log(np.gradient(moved, grid)))
    keep = truth > 1e-30
    integrand = truth[keep] * (log_truth[keep] - log_jump[keep])
    return float(np.trapezoid(integrand, grid[keep]))


def measure(schedule: ResolutionSchedule, spectrum: Spectrum, changes: str | None) -> Tensor:
    """Sample images and return `normalized` DCT coefficients, (N, R, R)."""
    process = ScaleSpaceProcess(schedule)
    field = ScaleMixture(spectrum, process)
    generator = torch.Generator().manual_seed(0)
    x = process.add_noise(field.draw(COUNT, generator), STEPS - 1, generator=generator)
    return normalized(
        sample_dpmpp_2m(field, process, x, generator=generator, changes=changes), spectrum
    )


def normalized(images: Tensor, spectrum: Spectrum) -> Tensor:
    """DCT coefficients divided by the standard deviations of the data, (N, R, R)."""
    basis = torch.from_numpy(dct_basis(SIZE))
    return (basis @ images @ basis.T)[:, 0] / torch.from_numpy(spectrum.power[:, :, 0]).sqrt()


def moments(z: Tensor) -> dict[str, float]:
    """Power in dB and kurtosis of coefficients (N, K), with standard errors over 16 groups."""

    def both(part: Tensor) -> tuple[float, float]:
        square = part.square().mean()
        return 10 * float(square.log10()), float(part.pow(4).mean() / square**2)

    groups = np.array([both(part) for part in z.chunk(16)])
    error = groups.std(axis=0, ddof=1) / 4
    decibel, kurtosis = both(z)
    return {
        "decibel": decibel,
        "decibel_error": float(error[0]),
        "kurtosis": kurtosis,
        "kurtosis_error": float(error[1]),
    }


def main() -> None:
    """Measure all rows and write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default=str(Path(__file__).with_suffix("")))
    output = parser.parse_args().output
    torch.set_num_threads(1)
    spectrum = Spectrum.power_law(SIZE, EXPONENT)
    noise = NoiseSchedule.linear(STEPS)
    inside = np.maximum.outer(np.arange(SIZE), np.arange(SIZE)) < LEVELS[1]
    band = torch.from_numpy(~inside)
    rows = []

    def keep(label: str, schedule: ResolutionSchedule, nats: float, z: Tensor) -> None:
        costs = change_divergence(schedule, spectrum)
        rows.append(
            {
                "chain": label,
                "change": next(iter(schedule.changes), None),
                "area": float((schedule.resolutions**2).mean()) / SIZE**2,
                "nats": nats,
                "gaussian_nats": sum(cost.gaussian for cost in costs),
                "most_nats": sum(cost.bound for cost in costs),
                **moments(z[:, band]),
            }
        )
        print(rows[-1], flush=True)

    def add(label: str, schedule: ResolutionSchedule, changes: str | None, nats: float) -> None:
        keep(label, schedule, nats, measure(schedule, spectrum, changes))

    one = ResolutionSchedule.full_resolution(SIZE, noise)
    truth = ScaleMixture(spectrum, ScaleSpaceProcess(one))
    drawn = truth.draw(COUNT, torch.Generator().manual_seed(1))
    keep("*draws of the field*", one, 0.0, normalized(drawn, spectrum))
    add("one level", one, None, 0.0)
    for tolerance in TOLERANCES:
        jump = derive_schedule(spectrum, noise, LEVELS, "snr", tolerance)
        (t,) = jump.changes
        powers = jump.base_snr[t - 1] * spectrum.power[:, :, 0][~inside]
        for changes in ("network", "corrected"):
            grid = np.geomspace(powers.min(), powers.max(), 12)
            cost = np.interp(powers, grid, [divergences(s, changes == "corrected") for s in grid])
            name = "jump" if changes == "network" else "jump, corrected"
            add(f"{name}, snr ≤ {tolerance:g}", jump, changes, float(cost.sum()))
        fade = derive_schedule(spectrum, noise, LEVELS, tolerance=tolerance)
        add(f"lossless, τ = {tolerance:g}", fade, None, 0.0)
    setting = (
        f"{SIZE} px, levels {LEVELS}, power law {EXPONENT}, one channel, linear T = {STEPS}, all "
        f"steps, DPM-Solver++(2M), {COUNT} samples, seed 0"
    )
    write_json(f"{output}.json", {"setting": setting, "rows": rows})
    with atomic_path(f"{output}.md") as temporary:
        temporary.write_text(table(setting, rows), encoding="utf-8")


def table(setting: str, rows: list[dict]) -> str:
    """Text of change_costs.md."""
    lines = [
        f"{setting}.",
        "",
        "Of the coefficients in the band that a change opens, over their deviations: power and "
        "kurtosis (15 for the field, 3 for a Gaussian), ± standard errors over 16 groups of "
        "images. Nats: what the change costs an image of this field, by quadrature, and what a "
        "jump there costs Gaussian data and any data at most (`theory.change_divergence`).",
        "",
    ]
    head = ["chain", "change at", "area", "nats", "Gaussian data", "any data"]
    shown = [[*head, "power, dB", "kurtosis"]]
    for row in rows:
        change = "none" if row["change"] is None else str(row["change"])
        shown.append(
            [
                row["chain"],
                change,
                f"{row['area']:.2f}",
                f"{row['nats']:.3f}",
                f"{row['gaussian_nats']:.3f}",
                f"{row['most_nats']:.1f}",
                f"{row['decibel']:+.2f} ± {row['decibel_error']:.2f}",
                f"{row['kurtosis']:.1f} ± {row['kurtosis_error']:.1f}",
            ]
        )
    return "\n".join([*lines, markdown_table(shown)]) + "\n"


if __name__ == "__main__":
    main()
