"""Evaluation of a comparison's networks: samples, errors on held-out images, predicted errors.

Every result is stored in the folder ``judged`` and read from there if it exists. Samples are
evaluated again if options of the arm have changed since.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from theory.information.measured import MeasuredInformation
from theory.oracle.predictions import has_exact_error
from theory.oracle.report import oracle_report
from theory.oracle.sampler import Sampler
from theory.spectrum.spectrum import Spectrum
from theory.support.files import write_json
from theory.support.reading import read_json

from ..devices import compute_device, use_bf16
from ..diffusion.gaussian import has_exact_denoiser
from ..metrics.denoising import change_errors, level_errors
from ..metrics.evaluation import evaluate_images
from ..metrics.information import measure_information
from ..network.model_files import SPECTRUM_FILE
from ..sampling.generating import generate
from ..sampling.methods import METHODS
from ..sampling.pictures import save_grid
from ..sampling.pipeline import ScaleSpacePipeline
from .arms import Comparison, Stage
from .costs import sampler_steps

_ROWS, _COLUMNS = 4, 16  # of the sample grid
_NAMES = {"dpmpp_2m": "DPM-Solver++(2M)", "eta": "DDIM"}
SNRS = (1000, 100, 30, 10, 3, 1)  # base snr of the steps in `errors_at_full_resolution`


def judge(comparison: Comparison, stage: Stage, calls: int, count: int) -> dict[str, Any]:
    """Sample from a stage's network and evaluate the images.

    Chains of all T steps are ancestral, as in the paper. Shorter chains are deterministic with
    steps evenly spaced in log-snr, by the sampler of the arm, the comparison or the pipeline's
    default. The seed is the stage's.

    Parameters
    ----------
    calls : int
        Network calls of a chain.
    count : int
        Number of images.

    Returns
    -------
    dict
        Content of ``judged/STAGE-callsCALLS.json``: result of
        `ssd_models.metrics.evaluation.evaluate_images` with ``calls``, ``sampler``, ``changes``,
        ``oracle`` (predicted error, None for the sampler "whitened") and ``options``.
    """
    if (stored := evaluated(comparison, stage, calls, count)) is not None:
        return stored
    schedule, spectrum = comparison.schedules[stage.arm], comparison.spectrum
    ancestral = calls >= schedule.num_steps
    eta = 1.0 if ancestral else 0.0
    arm = comparison.config.arms[stage.arm]
    pipeline, bf16 = _load(comparison, stage)
    chosen = arm.sampler or comparison.config.sampler or pipeline.default_sampler
    sampler = "eta" if ancestral else chosen
    steps = sampler_steps(schedule, calls, arm.last_snr)
    images = generate(
        pipeline,
        count,
        None,
        eta,
        stage.seed,
        timesteps=steps,
        sampler=sampler,
        changes=arm.changes,
        bf16=bf16,
        max_batch=256,
        progress=True,
    )
    out = comparison.held_out
    real = comparison.images[np.flatnonzero(~out)]
    result = {
        "calls": len(steps),
        "sampler": "ancestral" if ancestral else f"{_NAMES.get(sampler, sampler)}, even in log-snr",
        "changes": Sampler(changes=arm.changes).on(schedule).changes,
        **evaluate_images(
            images,
            real,
            real,
            comparison.images[np.flatnonzero(out)],
            stage.seed,
            features=comparison.config.features,
            baseline=_baseline(comparison, count, stage.seed),
        ),
        "oracle": None
        if sampler == "whitened"
        else _predicted(schedule, spectrum, steps, eta, METHODS[sampler].order, arm.changes),
        "options": _options(comparison, stage, count),
    }
    grid = images[: _ROWS * _COLUMNS]
    save_grid(grid, samples_path(comparison, stage, calls), _COLUMNS)
    write_json(_path(comparison, stage, calls), result)
    return result


def evaluated(
    comparison: Comparison, stage: Stage, calls: int, count: int
) -> dict[str, Any] | None:
    """Stored result of `judge`; None if there is none, or it was made with other options."""
    path = _path(comparison, stage, calls)
    if not path.is_file():
        return None
    result = read_stored(path)
    return result if result.get("options") == _options(comparison, stage, count) else None


def read_stored(path: Path) -> Any:
    """Read a result of this module; raise `InputError` if its file is damaged."""
    return read_json(path, "delete it, and the same command makes it again")


def _path(comparison: Comparison, stage: Stage, calls: int) -> Path:
    return comparison.folder / "judged" / f"{stage.name}-calls{calls}.json"


def _options(comparison: Comparison, stage: Stage, count: int) -> dict[str, Any]:
    """Options that a stored result depends on and that no run or folder is checked for."""
    config = comparison.config
    arm = asdict(config.arms[stage.arm])
    chosen = {name: value for name, value in arm.items() if name not in ("label", "train")}
    chosen["sampler"] = chosen["sampler"] or config.sampler
    chosen["levels"] = list(chosen["levels"] or config.levels)
    return {"images": count, "features": config.features, **chosen}


def _baseline(comparison: Comparison, count: int, seed: int) -> dict[str, Any] | None:
    """Distances of real from real images that another stage's evaluation has computed."""
    for path in sorted((comparison.folder / "judged").glob("*-calls*.json")):
        found = read_stored(path)
        same = (found["counts"]["sampled"], found["seed"]) == (count, seed)
        if same and ("fd_effnet" in found["baseline"]) == comparison.config.features:
            return found["baseline"]
    return None


def samples_path(comparison: Comparison, stage: Stage, calls: int) -> Path:
    """File of the sample grid of a stage."""
    return comparison.folder / "samples" / f"{stage.name}-calls{calls}.png"


def information(comparison: Comparison, stage: Stage) -> MeasuredInformation:
    """Information that a stage's network measures on held-out images."""
    path = comparison.folder / "judged" / f"{stage.name}-information.json"
    if not path.is_file():
        pipeline, bf16 = _load(comparison, stage)
        images = comparison.images[np.flatnonzero(comparison.held_out)]
        found = measure_information(pipeline, images, bf16=bf16, progress=True)
        found.save(path)
    return MeasuredInformation.load(path, Spectrum.load(comparison.model(stage) / SPECTRUM_FILE))


def errors_at_changes(comparison: Comparison, stage: Stage) -> list[dict[str, Any]]:
    """`ssd_models.metrics.denoising.change_errors` of a stage on held-out images.

    Empty if the best linear denoiser is not known for the schedule's operator.
    """
    if not has_exact_denoiser(comparison.schedules[stage.arm]):
        return []
    path = comparison.folder / "judged" / f"{stage.name}-changes.json"
    if not path.is_file():
        pipeline, bf16 = _load(comparison, stage)
        images = comparison.images[np.flatnonzero(comparison.held_out)]
        write_json(path, change_errors(pipeline, images, bf16=bf16))
    return read_stored(path)


def errors_at_full_resolution(comparison: Comparison, stage: Stage) -> list[dict[str, Any]]:
    """Errors on held-out images at the full-resolution steps nearest to each snr of `SNRS`.

    Rows are those of `ssd_models.metrics.denoising.level_errors` with their ``snr``. An snr at
    which the arm has no states of full resolution is left out.
    """
    path = comparison.folder / "judged" / f"{stage.name}-full-resolution.json"
    if not path.is_file():
        schedule = comparison.schedules[stage.arm]
        full = np.flatnonzero(schedule.resolutions == schedule.resolution)
        steps = {
            int(full[np.abs(np.log(schedule.base_snr[full] / snr)).argmin()]): snr
            for snr in SNRS
            if schedule.base_snr[full[-1]] <= snr <= schedule.base_snr[0]
        }
        pipeline, bf16 = _load(comparison, stage)
        images = comparison.images[np.flatnonzero(comparison.held_out)]
        rows = level_errors(pipeline, images, bf16=bf16, steps=list(steps))
        write_json(path, [{"snr": steps[row["step"]], **row} for row in rows])
    return read_stored(path)


def _load(comparison: Comparison, stage: Stage) -> tuple[ScaleSpacePipeline, bool]:
    device = compute_device()
    pipeline = ScaleSpacePipeline.from_pretrained(comparison.model(stage)).to(device)
    return pipeline, use_bf16(device)


def _predicted(
    schedule: Any, spectrum: Any, steps: list[int], eta: float, order: int, changes: str | None
) -> dict[str, Any]:
    exact = schedule if has_exact_error(schedule) else schedule.with_operator("dct")
    report = oracle_report(exact, spectrum, steps, eta, order=order, changes=changes)
    return {
        "operator": exact.operator,
        "relative_w2": report.relative_w2,
        "octave_decibels": report.octave_db.tolist(),
    }
