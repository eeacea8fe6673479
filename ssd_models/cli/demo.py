"""`ssd demo`: spectrum, schedule, training, guided samples and cost on built-in letters."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from theory.oracle.predictions import with_predictions
from theory.oracle.report import octave_decibels
from theory.oracle.steps import select_steps
from theory.plots.schedule import save_report
from theory.schedule.costs import chain_costs
from theory.schedule.derivation import derive_schedule
from theory.schedule.noise import NoiseSchedule
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import SameImagesError
from theory.support.files import check_new_folder

from ..bench.timing import median_seconds
from ..data.class_labels import Classes, require_classes
from ..data.opening import measured_spectrum, open_images
from ..devices import use_bf16
from ..metrics.classifier import ImageClassifier
from ..sampling.pictures import save_animation
from ..sampling.pipeline import ScaleSpacePipeline
from ..training.building import build_unet
from ..training.config import TrainConfig
from ..training.stopping import exit_status
from ..training.trainer import Trainer
from .demo_pictures import save_power, save_samples
from .demo_speed import steps_within

WORD = "PIXEL"  # shown in three rows of the animation
CHARACTERS = "".join(sorted(WORD))
DATA = f"glyphs:{CHARACTERS}"
RESOLUTION = 16  # pixels; larger images need longer training
LEVELS = (16, 8, 4)
IMAGES = 8192
TEST_IMAGES = 1024  # of another seed, for the accuracy of the classifier
EACH = 30  # samples per class
TOLERANCE = 0.3  # of water-filling; with 1 mostly the 8-pixel states decide the letters' shapes
GUIDANCE = 3.0
CALLS = 50
ETA = 1.0  # ancestral sampling, whose noise corrects earlier errors of a briefly trained network


def demo(out: str | os.PathLike[str], minutes: float, seed: int) -> None:
    """Run the demo, print its results and write all files into the new folder ``out``."""
    folder = Path(out)
    check_new_folder(folder)
    seconds: dict[str, float] = {}

    with _timed("images and spectrum", seconds):
        images, classes = _glyphs(IMAGES, seed)
        spectrum = measured_spectrum(images, {"source": DATA, "seed": seed})
        spectrum.save(folder / "spectrum.npz")
    with _timed("schedule", seconds):
        noise = NoiseSchedule.cosine()
        schedule = derive_schedule(spectrum, noise, LEVELS, tolerance=TOLERANCE)
        schedule = with_predictions(schedule, spectrum)
        schedule.save(folder / "schedule.json")
        save_report(folder / "schedule.png", schedule, spectrum)
    changes = ", ".join(f"{a} -> {b} at t = {t}" for t, (a, b) in schedule.changes.items())
    print(f"\n{IMAGES} images of {RESOLUTION} px; the resolution changes {changes or 'never'}\n")

    with _timed("training", seconds):
        config = _config(seed)
        pipeline = _trained(folder, images, classes, schedule, config, minutes)
    with _timed("samples", seconds):
        labels = np.repeat(np.arange(len(CHARACTERS)), EACH)
        guided = _samples(pipeline, labels, GUIDANCE, seed)
        plain = _samples(pipeline, labels, 1.0, seed)
        save_samples(folder / "samples.png", guided, images, classes.labels)
        _animate(folder / "growth.gif", pipeline, seed)
    with _timed("classifier", seconds):
        classifier = ImageClassifier.trained(images, classes.labels, seed=seed)
        test, test_classes = _glyphs(TEST_IMAGES, seed + 1)
        own = classifier.accuracy(test, test_classes.labels)
        found = classifier.accuracy(guided, labels), classifier.accuracy(plain, labels)
    with _timed("power and cost", seconds):
        sampled = {}
        for name, samples in ((f"guided by {GUIDANCE:g}", guided), ("without guidance", plain)):
            with suppress(SameImagesError):  # a network may have learned nothing yet
                sampled[name] = measured_spectrum(samples, {"source": "samples"})
        save_power(folder / "power.png", spectrum, sampled)
        schedules = {
            "full resolution": ResolutionSchedule.full_resolution(RESOLUTION, noise),
            "derived, lossless": schedule,
        }
        measured = _seconds_per_image(schedules, config)

    print(
        f"\nA classifier that never saw a sample names the right one of {len(CHARACTERS)} classes "
        f"for\n  {own:4.0%} of {TEST_IMAGES} real images that it was not trained on,\n"
        f"  {found[0]:4.0%} of {len(labels)} samples guided by {GUIDANCE:g},\n"
        f"  {found[1]:4.0%} of as many samples without guidance."
    )
    print("\nPower of samples over the data's, dB per octave, lowest first")
    if not sampled:
        print("  none: all samples are the same image; train longer")
    for name, each in sampled.items():
        decibels = octave_decibels(each.power, spectrum.power)
        print(f"  {name:17s}" + "  ".join(f"{value:+5.2f}" for value in decibels))
    _print_costs(schedules, measured)
    took = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    print(f"\nTook {sum(seconds.values()):.0f} s: {took}.")
    print(
        f"Wrote {folder}/: samples.png, growth.gif (the chain), schedule.png, power.png, run/.\n\n"
        "Next, the same on a folder of your own images:\n"
        "  ssd spectrum FOLDER && ssd derive --report schedule.png && ssd train && ssd sample\n"
        f"or more of these: ssd sample {folder}/run --classes P X --guidance {GUIDANCE:g} -n 16"
    )


@contextmanager
def _timed(stage: str, seconds: dict[str, float]) -> Iterator[None]:
    """Store the duration of a stage in ``seconds[stage]``."""
    began = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - began


def _glyphs(count: int, seed: int) -> tuple[np.ndarray, Classes]:
    source = open_images(DATA, RESOLUTION, limit=count, seed=seed)
    images = source.load(progress=True)
    return images, require_classes(source.classes(), count, DATA)


def _config(seed: int) -> TrainConfig:
    """Options of a narrow network and a short training."""
    return TrainConfig(
        base_channels=16,
        class_conditional=True,
        change_fraction=0.0,  # lossless changes need no network call
        learning_rate=3e-3,
        warmup_steps=50,
        cosine_decay=True,
        ema_decay=0.995,
        # The letter is decided at high noise, so these states get nearly the same loss weight.
        snr_floor=4.0,
        snr_clip=8.0,
        held_out=0.0,
        validate_every=0,
        seed=seed,
    )


def _trained(
    folder: Path,
    images: np.ndarray,
    classes: Classes,
    schedule: ResolutionSchedule,
    config: TrainConfig,
    minutes: float,
) -> ScaleSpacePipeline:
    """Train for as many steps as fit into ``minutes`` and return the pipeline.

    If the machine becomes slower, training stops after 1.5 times the minutes.
    """

    def trainer(config: TrainConfig) -> Trainer:
        return Trainer(images, schedule, folder / "run", config, DATA, classes=classes)

    steps = steps_within(60 * minutes, trainer(config))
    training = trainer(replace(config, steps=steps, checkpoint_every=steps))
    reason = training.train(max_minutes=1.5 * minutes)
    if reason is not None:
        print(f"{folder}: stopped at step {training.step} ({reason}); its checkpoint is kept")
        if status := exit_status(reason):
            sys.exit(status)
    return ScaleSpacePipeline.from_pretrained(folder / "run" / "model")


def _samples(
    pipeline: ScaleSpacePipeline, labels: np.ndarray, guidance: float, seed: int
) -> np.ndarray:
    """Samples of the given classes, (N, R, R, 3) uint8."""
    return pipeline(
        len(labels),
        CALLS,
        ETA,
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
        class_labels=labels,
        guidance_scale=guidance,
        bf16=use_bf16("cpu"),
        progress=True,
    ).images


def _animate(path: Path, pipeline: ScaleSpacePipeline, seed: int) -> None:
    """Write an animation of the clean predictions of a chain at their own resolutions."""
    text = list(3 * WORD)
    chain = pipeline.trajectory(
        len(text),
        CALLS,
        ETA,
        generator=torch.Generator().manual_seed(seed),
        class_labels=text,
        guidance_scale=GUIDANCE,
        bf16=use_bf16("cpu"),
    )
    frames = [pipeline.as_output(state.x0, "np").images for state in chain]
    save_animation(frames, path, RESOLUTION, columns=len(WORD))


def _seconds_per_image(
    schedules: dict[str, ResolutionSchedule], config: TrainConfig, batch: int = 32, calls: int = 20
) -> dict[str, float]:
    """Median seconds per image of sampling with the demo's network on each schedule.

    The network is untrained, as time does not depend on weights. Steps are uniform in t, so that
    resolutions occur with the same frequency as in the chain whose cost is predicted.
    """
    unet = build_unet(config, schedules["derived, lossless"], 3, len(CHARACTERS))
    jobs = {
        name: partial(
            ScaleSpacePipeline(unet, schedule),
            batch,
            None,
            timesteps=select_steps(schedule, calls, "uniform"),
            output_type="pt",
            class_labels=0,
            bf16=use_bf16("cpu"),
        )
        for name, schedule in schedules.items()
    }
    return {name: seconds / batch for name, seconds in median_seconds(jobs, 3).items()}


def _print_costs(schedules: dict[str, ResolutionSchedule], seconds: dict[str, float]) -> None:
    table = chain_costs(LEVELS)[1]
    full = seconds["full resolution"]
    print(
        "\nCost of a chain over that at full resolution: predicted from the FLOP of the paper's "
        f"network,\nand measured with this one ({torch.get_num_threads()} threads, 20 calls, "
        "batches of 32)"
    )
    for name, schedule in schedules.items():
        print(
            f"  {name:17s}  predicted {schedule.chain_cost(table):.2f}  measured "
            f"{seconds[name] / full:.2f}  ({1000 * seconds[name]:.1f} ms an image)"
        )
