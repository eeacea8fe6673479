"""`ssd evaluate`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from theory.support.errors import InputError
from theory.support.seeds import check_seed

from ..data.forms import DATA_HELP
from ..distributed import process_index
from .options import OptionalOutput, OptionalPath, Run

if TYPE_CHECKING:
    import numpy as np

    from ..training.batches import ImageArray

    Measured = tuple[dict[str, Any], np.ndarray, ImageArray]  # result, samples, real images

EVALUATION_FILE = "evaluation.json"  # in a run directory


@dataclass(frozen=True)
class EvaluateCommand:
    """Measure distances between generated and real images, and errors on held-out images.

    Example: ssd evaluate run --data photos/ -n 2048 --steps 50

    Prints the Fréchet distance of wavelet scattering features, the sliced Wasserstein distance of
    Laplacian pyramid patches and the power in each octave relative to the data in dB, with 95 %
    intervals and the values of two sets of real images. For a run also memorization (distances to
    the nearest training image) and the denoising error on held-out images by level. On several
    GPUs: torchrun --nproc-per-node 8 -m ssd_models.cli evaluate …
    """

    what: Positional[Run] = "run"
    """Run directory, model directory, or generated images in any form of DATA."""
    data: Annotated[
        str | None,
        arg(metavar="DATA", help=f"Real images. {DATA_HELP} By default the data of the run."),
    ] = None
    number: Annotated[int, arg(aliases=["-n"])] = 2048
    """Images to generate, or most images to use; distances are comparable at equal numbers only."""
    steps: int | None = 50
    """Network calls; None for all steps of the schedule."""
    eta: float = 0.0
    """0 deterministic, 1 ancestral."""
    sampler: str | None = None
    """See `ssd sample`."""
    spacing: Literal["logsnr", "uniform", "edm", "alpha", "planned"] = "logsnr"
    """Spacing of the steps, see `ssd sample`."""
    last_snr: float | None = None
    """Signal-to-noise ratio of the last step, see `ssd sample`."""
    changes: Literal["network", "corrected", "free"] | None = None
    """Treatment of changes of resolution, see `ssd sample`."""
    seed: int = 0
    """Seed of samples, of the choice of real images, and of patches and directions."""
    batch: int = 64
    """Images per network call."""
    bf16: bool | None = None
    """Run the network in bfloat16; by default if the processor supports it."""
    inception: OptionalPath = None
    """Add FID, KID, precision and recall (extra `metrics`): file of Inception weights, or
    `download`."""
    features: bool = False
    """Add Fréchet and kernel distance of EfficientNet-Lite0 features (extra `features`)."""
    output: OptionalOutput = None
    """JSON file to write; by default evaluation.json, for a run in its directory."""
    report: OptionalPath = None
    """HTML page to write: samples beside real images, metrics, power by octave."""

    def run(self) -> None:
        """Run the command."""
        from theory.schedule.reverse_step import check_eta
        from theory.support.files import check_writable, write_json

        check_eta(self.eta)
        if self.number < 20:
            raise InputError(f"-n {self.number}: needs at least 20 generated images")
        check_seed(self.seed, "--seed")
        if self.batch < 1 or (self.steps is not None and self.steps < 1):
            raise InputError("--steps and --batch must be at least 1")
        where = Path(self.what)
        is_run = (where / "config.yaml").is_file()
        output = Path(self.output or (where / EVALUATION_FILE if is_run else EVALUATION_FILE))
        check_writable(output)
        if self.report is not None:
            if Path(self.report).suffix.lower() != ".html":
                raise InputError(f"{self.report}: a page's name must end in .html")
            check_writable(self.report)
        self._check_extras()
        if is_run:
            result, samples, real = self._of_run(where)
        elif (where / "model.safetensors").is_file():
            result, samples, real = self._of_model(where)
        else:
            result, samples, real = self._of_images()
        if process_index():
            return
        from ..metrics.evaluation import table

        write_json(output, result)
        print(table(result))
        print(f"\n{output}: written")
        if self.report is not None:
            from theory.plots.html import save_page

            from ..metrics.evaluation_page import evaluation_page

            save_page(self.report, evaluation_page(result, samples, real))
            print(f"{self.report}: written")

    def _of_run(self, run: Path) -> Measured:
        from ..metrics.evaluation import evaluate_images
        from ..training.run_data import run_images

        pipeline = self._pipeline(run)
        real = run_images(run, self.data)
        samples, setting = self._sample(pipeline)
        if process_index():
            return {}, samples, samples
        training, held_out = real.training, None
        if lacking := real.lacking():
            print(f"ssd: note: {lacking}. Left out: memorization, errors", file=sys.stderr)
        else:
            held_out = real.held_out
        result = evaluate_images(
            samples, training, training, held_out, self.seed, True, self.features
        )
        result |= {"model": str(run), "data": real.name, "sampling": setting}
        if held_out is not None:
            result |= self._denoising(pipeline, held_out)
        return result | self._inception(samples, training), samples, training

    def _of_model(self, model: Path) -> Measured:
        pipeline = self._pipeline(model)
        real = self._real(pipeline.scheduler.schedule.resolution)
        samples, setting = self._sample(pipeline)
        result = self._compare(samples, real) | {"model": str(model), "sampling": setting}
        return result, samples, real

    def _of_images(self) -> Measured:
        from ..data.built_in import built_in
        from ..data.opening import open_images
        from ..metrics.scattering import num_scales

        if built_in(self.what):
            raise InputError(
                f"{self.what}: is a built-in dataset; give a run, a model, or images that one made "
                "(./photos for a folder called photos)"
            )
        if not Path(self.what).exists() and ":" not in self.what:
            raise InputError(
                f"{self.what}: no such run, model or images; train one with `ssd train`"
            )
        source = open_images(self.what, None, limit=self.number)
        width, _ = source.first_size()
        num_scales(width)
        samples = open_images(self.what, width, limit=self.number, seed=self.seed).load()
        real = self._real(width)
        return self._compare(samples, real) | {"images": self.what}, samples, real

    def _compare(self, samples: np.ndarray, real: np.ndarray) -> dict[str, Any]:
        from ..metrics.evaluation import evaluate_images

        if process_index():
            return {}
        result = evaluate_images(
            samples, real, seed=self.seed, progress=True, features=self.features
        )
        return result | {"data": str(self.data)} | self._inception(samples, real)

    def _real(self, resolution: int) -> np.ndarray:
        from ..data.opening import open_images

        if self.data is None:
            raise InputError(f"{self.what}: is no run; give the real images with --data")
        return open_images(self.data, resolution).load(progress=process_index() == 0)

    def _pipeline(self, model: Path) -> Any:
        from ..devices import compute_device
        from ..metrics.scattering import num_scales
        from ..sampling.pipeline import ScaleSpacePipeline

        pipeline = ScaleSpacePipeline.from_pretrained(model).to(compute_device())
        num_scales(pipeline.scheduler.schedule.resolution)  # refused now, not after sampling
        return pipeline

    def _sample(self, pipeline: Any) -> tuple[np.ndarray, dict[str, Any]]:
        from ..distributed import part_ways
        from ..sampling.generating import generate
        from ..sampling.options import SamplingOptions

        images = generate(
            pipeline,
            self.number,
            self.steps,
            self.eta,
            self.seed,
            sampler=self.sampler,
            spacing=self.spacing,
            last_snr=self.last_snr,
            changes=self.changes,
            bf16=self._bf16(),
            max_batch=self.batch,
            progress=process_index() == 0,
        )
        part_ways()  # only the first process measures
        options = SamplingOptions(spacing=self.spacing, last_snr=self.last_snr)
        return images, {
            "calls": len(pipeline.scheduler.timesteps),
            "eta": self.eta,
            "sampler": self.sampler,
            "spacing": self.spacing,
            "last_snr": pipeline.chain_end(options),
            "changes": self.changes,
            "seed": self.seed,
            "bf16": self._bf16(),
        }

    def _bf16(self) -> bool:
        from ..devices import compute_device, use_bf16

        return use_bf16(compute_device(), self.bf16)

    def _denoising(self, pipeline: Any, held_out: np.ndarray) -> dict[str, Any]:
        from ..diffusion.gaussian import has_exact_denoiser
        from ..metrics.denoising import change_errors, level_errors

        setting = (self.seed, self.batch, self._bf16())
        found = {"denoising": level_errors(pipeline, held_out, *setting, progress=True)}
        if pipeline.spectrum is not None and has_exact_denoiser(pipeline.scheduler.schedule):
            found["changes"] = change_errors(pipeline, held_out, *setting)
        return found

    def _check_extras(self) -> None:
        if self.features:
            from ..metrics.efficientnet import check_efficientnet

            check_efficientnet()
        if self.inception is not None:
            from ..metrics.inception import check_inception

            check_inception(self._weights())

    def _inception(self, samples: np.ndarray, real: ImageArray) -> dict[str, Any]:
        if self.inception is None:
            return {}
        from ..metrics.inception import inception_metrics

        found = inception_metrics(samples, real, self._weights(), None, self.seed, True)
        return {"inception": found}

    def _weights(self) -> str | None:
        return None if self.inception == "download" else self.inception
