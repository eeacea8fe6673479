"""Divergence of changes of resolution for real images, from errors of trained networks.

    python results/change_divergence.py DATA OUT.json ONE_LEVEL JUMP [JUMP ...]

ONE_LEVEL is a model at full resolution, each JUMP a model whose schedule changes the resolution,
all trained on DATA. Errors are measured on their held-out images
(`theory.information.divergence.measured_divergence`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from ssd_models import ScaleSpacePipeline
from ssd_models.data import open_images
from ssd_models.metrics.denoising import denoising_errors
from ssd_models.metrics.information import measure_information
from ssd_models.training.splits import held_out
from theory import change_divergence
from theory.information.divergence import measured_divergence
from theory.support.files import write_json

HELD_OUT = 0.02  # share of the images, as in training


def main(data: str, output: str, one_level: str, *jumps: str) -> None:
    """Measure, print and write the divergence of every change."""
    pipeline = ScaleSpacePipeline.from_pretrained(one_level)
    spectrum = pipeline.spectrum
    assert spectrum is not None
    source = open_images(data, pipeline.scheduler.schedule.resolution)
    images = source.load()[np.flatnonzero(held_out(source.names(), HELD_OUT))]
    measured = measure_information(pipeline, images)
    rows: list[dict[str, Any]] = []
    for jump in jumps:
        other = ScaleSpacePipeline.from_pretrained(jump)
        schedule = other.scheduler.schedule
        across = denoising_errors(other, images, list(schedule.changes), paths="next").shells
        known = change_divergence(schedule, spectrum)
        for found, gauss in zip(
            measured_divergence(schedule, measured, across), known, strict=True
        ):
            band = np.ones((found.before, found.before), bool)
            band[: found.after, : found.after] = False
            power = spectrum.power[: found.before, : found.before][band]
            rows.append(
                {
                    "model": Path(jump).name,
                    "step": found.step,
                    "before": found.before,
                    "after": found.after,
                    "ratio": float(schedule.base_snr[found.step - 1] * power.max()),
                    "gaussian": gauss.gaussian,
                    "bound": gauss.bound,
                    "measured": found.nats,
                    "standard_error": found.standard_error,
                }
            )
            print(rows[-1])
    rows.sort(key=lambda row: row["ratio"])
    content = {"images": len(images), "one_level": Path(one_level).name, "changes": rows}
    write_json(output, content)


if __name__ == "__main__":
    main(*sys.argv[1:])
