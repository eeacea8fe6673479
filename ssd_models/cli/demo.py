"""The main job on the built-in photographs: spectrum, schedule, training, samples, evaluation."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from theory.oracle.report import octave_decibels, oracle_report, with_predictions
from theory.oracle.steps import select_steps
from theory.plots.schedule import save_report
from theory.schedule.costs import chain_costs
from theory.schedule.derivation import derive_schedule
from theory.schedule.noise import NoiseSchedule
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.bands import band_power
from theory.spectrum.spectrum import Spectrum
from theory.support.files import atomic_path, check_new_folder

from ..bench.timing import median_seconds
from ..data.opening import open_images, to_float
from ..sampling.pictures import save_grid
from ..sampling.pipeline import ScaleSpacePipeline
from ..training.building import build_unet, use_bf16
from ..training.config import TrainConfig
from ..training.stopping import exit_status
from ..training.trainer import Trainer

RESOLUTION = 32
LEVELS = (32, 16, 8)
SAMPLES = 256
CALLS = 100


def demo(out: str | os.PathLike[str], steps: int, seed: int) -> None:
    """Run the demo and print its table; writes everything into the new folder ``out``."""
    folder = Path(out)
    check_new_folder(folder)
    began = time.perf_counter()
    source = open_images("photos", RESOLUTION, seed=seed)
    images = source.load(progress=True)
    spectrum = Spectrum.from_images(
        (to_float(images[i : i + 512]) for i in range(0, len(images), 512)),
        {"source": "photos", "seed": seed},
    )
    spectrum.save(folder / "spectrum.npz")
    noise = NoiseSchedule.linear()
    schedules = {
        "full resolution": ResolutionSchedule.full_resolution(RESOLUTION, noise),
        "paper, ConvexDecay_0.5": ResolutionSchedule.paper(
            RESOLUTION, len(LEVELS), "ConvexDecay_0.5", noise
        ),
        "derived, matched noise": derive_schedule(spectrum, noise, LEVELS, "snr"),
    }
    schedule = with_predictions(schedules["derived, matched noise"], spectrum)
    schedule.save(folder / "schedule.json")
    save_report(folder / "schedule.png", schedule, spectrum)

    config = TrainConfig(
        steps=steps,
        learning_rate=1e-3,
        cosine_decay=True,
        ema_decay=0.995,
        # The usual clip of 5 leaves so short a training 5 dB short of power in the highest octave,
        # which is decided where snr is 10 to 100; with 50 it is within 3 dB.
        snr_clip=50.0,
        bf16=use_bf16("cpu"),
        checkpoint_every=steps,
        seed=seed,
    )
    seconds = _seconds_per_image(schedules, config)
    _print_table(schedules, spectrum, seconds)
    changes = ", ".join(f"{a} -> {b} at t = {t}" for t, (a, b) in schedule.changes.items())
    print(f"\nderived changes: {changes or 'none'}\n")

    trainer = Trainer(images, schedule, folder / "run", config, data="photos")
    reason = trainer.train()
    if reason is not None:
        print(f"{folder}: stopped at step {trainer.step} ({reason}); what there is stays")
        sys.exit(exit_status(reason))
    pipeline = ScaleSpacePipeline.from_pretrained(folder / "run" / "model")
    generator = torch.Generator().manual_seed(seed)
    samples = pipeline(
        SAMPLES,
        CALLS,
        generator=generator,
        output_type="np",
        bf16=trainer.learner.bf16,
        progress=True,
        sampler="dpmpp_2m",  # whose errors the oracle knows
    ).images
    sampled = Spectrum.from_images(to_float(samples), {"source": "samples"})
    _write_pictures(folder, images, samples, spectrum, sampled)
    predicted = oracle_report(
        schedule, spectrum, pipeline.scheduler.timesteps.tolist(), eta=0.0, order=2
    )
    measured = octave_decibels(sampled.power, spectrum.power)
    print(f"\npower of {SAMPLES} samples over the data's, dB per octave, lowest first")
    print(f"  measured                  {_decibels(measured)}")
    print(f"  oracle, perfect denoiser  {_decibels(predicted.octave_db)}")
    print(f"\nwrote {folder}/ (spectrum.npz, schedule.json, .png, run/, samples.png, power.png)")
    print(f"took {time.perf_counter() - began:.0f} s")


def _seconds_per_image(
    schedules: dict[str, ResolutionSchedule], config: TrainConfig, batch: int = 32, calls: int = 20
) -> dict[str, float]:
    """Median seconds per image of a sampler with the demo's network, schedules taking turns.

    Time does not depend on the weights, so the untrained network serves. Steps are uniform in t,
    as in the chain whose cost is predicted, so that the mix of resolutions is the chain's.
    """
    unet = build_unet(config, schedules["derived, matched noise"], 3)
    jobs = {
        name: partial(
            ScaleSpacePipeline(unet, schedule),
            batch,
            None,
            timesteps=select_steps(schedule, calls, "uniform"),
            output_type="pt",
            bf16=bool(config.bf16),
        )
        for name, schedule in schedules.items()
    }
    return {name: seconds / batch for name, seconds in median_seconds(jobs, 3).items()}


def _print_table(
    schedules: dict[str, ResolutionSchedule], spectrum: Spectrum, seconds: dict[str, float]
) -> None:
    table = chain_costs(LEVELS)[1]
    full = seconds["full resolution"]
    precision = "bf16" if use_bf16("cpu") else "fp32"
    print(
        f"\n{RESOLUTION} px, T = 1000. Cost: mean call of the paper's network over its "
        "full-resolution call.\nError: relative W2² of all 1000 ancestral steps with a perfect "
        f"Gaussian denoiser.\nTime: s/image for 20 calls uniform in t, this network, "
        f"{torch.get_num_threads()} threads, {precision}, batch 32.\n"
    )
    print(f"{'schedule':24s} {'cost':>6s} {'error':>9s} {'s/image':>8s} {'ratio':>6s}")
    for name, schedule in schedules.items():
        cost = schedule.chain_cost(table)
        error = oracle_report(schedule, spectrum).relative_w2
        print(
            f"{name:24s} {cost:6.3f} {error:9.2e} {seconds[name]:8.4f} {seconds[name] / full:6.2f}"
        )


def _write_pictures(
    folder: Path, images: np.ndarray, samples: np.ndarray, spectrum: Spectrum, sampled: Spectrum
) -> None:
    from matplotlib.figure import Figure

    rows = [np.concatenate([samples[i : i + 8], images[i : i + 8]]) for i in range(0, 64, 8)]
    grid = np.concatenate(rows)  # a row: eight samples, eight real crops
    big = grid.repeat(2, axis=1).repeat(2, axis=2)
    save_grid(big, folder / "samples.png", columns=16)
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    index = np.arange(1, RESOLUTION)
    axes.loglog(index, band_power(spectrum.power)[1:], color="#666666", lw=3, label="data")
    axes.loglog(index, band_power(sampled.power)[1:], color="#0072B2", label="samples")
    axes.set(xlabel="frequency max(k1, k2), DCT index", ylabel="power per coefficient")
    axes.legend()
    with atomic_path(folder / "power.png") as temporary:
        figure.savefig(temporary, dpi=150)


def _decibels(values: np.ndarray) -> str:
    return "  ".join(f"{value:+5.2f}" for value in values)
