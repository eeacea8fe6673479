"""Where a chain across resolutions loses power: samples of one network from several starts.

    python results/power_lost.py MODEL DATA OUT.json

| chains of 50 calls | start | band that opens at a change |
|---|---|---|
| noise | noised draws of the Gaussian field | prediction of the network |
| noise, changes filled | the same | prediction plus posterior noise of Gaussian data |
| real images | noisy real images at a step | prediction of the network |

Reports the power of samples in each octave relative to the real images in dB, with 95 % intervals
over images.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ssd_models import GaussianDenoiser, ScaleSpacePipeline, sample_dpmpp_2m, use_bf16
from ssd_models.data import open_images, to_float
from ssd_models.data.opening import to_uint8
from ssd_models.metrics.estimates import half_width
from ssd_models.metrics.octaves import octave_decibels_estimate
from theory import select_steps
from theory.support.files import write_json

COUNT, BATCH, CALLS = 512, 128, 50
STARTS = (100, 250, 364, 450, 533, 600, 800)  # steps at which chains start from real images


def main(model: str, data: str, output: str) -> None:
    """Sample from each start, measure, print and write."""
    pipeline = ScaleSpacePipeline.from_pretrained(model)
    assert pipeline.spectrum is not None
    process, schedule = pipeline.scheduler.process, pipeline.scheduler.schedule
    exact = GaussianDenoiser(pipeline.spectrum, process)
    denoise = pipeline.denoiser(bf16=use_bf16("cpu"), max_batch=BATCH)
    real = open_images(data, schedule.resolution, limit=COUNT).load()
    clean = torch.from_numpy(to_float(real)).permute(0, 3, 1, 2).float()
    all_steps = select_steps(schedule, CALLS)

    def sampled(steps: Sequence[int], images: Tensor | None, fill: bool) -> np.ndarray:
        generator, made = torch.Generator().manual_seed(0), []

        def filled(x: Tensor, t: int, resolution: int) -> Tensor:
            x0 = denoise(x, t, resolution)
            if resolution == x.shape[-1]:
                return x0
            return x0 + exact.residual(x0, t, resolution, generator)

        for start in range(0, COUNT, BATCH):
            if images is None:
                x0 = exact.field.draw(BATCH, generator, torch.empty(0))
            else:
                x0 = images[start : start + BATCH]
            x = process.add_noise(x0, steps[0], generator=generator)
            used = filled if fill else denoise
            made.append(sample_dpmpp_2m(used, process, x, steps, generator=generator))
        return to_uint8(torch.cat(made).clamp(-1, 1).permute(0, 2, 3, 1).numpy())

    rows = []
    with torch.inference_mode():
        for name, start, fill in [
            ("noise", None, False),
            ("noise, changes filled", None, True),
            *(("real images", start, False) for start in STARTS),
        ]:
            steps = [t for t in all_steps if start is None or t <= start]
            images = sampled(steps, None if start is None else clean, fill)
            found = octave_decibels_estimate(images, real)
            half = half_width(np.asarray(found.standard_error))
            row = {"begin": name, "step": steps[0], "pixels": int(schedule.resolutions[steps[0]])}
            rows.append({**row, "decibels": found.value.tolist(), "half_interval": half.tolist()})
            shown = " ".join(f"{d:+.2f} ± {h:.2f}" for d, h in zip(found.value, half, strict=True))
            print(f"{name}, t = {steps[0]}, {row['pixels']} px: {shown}", flush=True)
    changes = {str(t): list(sides) for t, sides in schedule.changes.items()}
    setting = {"images": COUNT, "calls": CALLS, "changes": changes, "seed": 0}
    write_json(output, {"setting": setting, "rows": rows})


if __name__ == "__main__":
    main(*sys.argv[1:])
