"""The training loop: one resolution path a batch, on accelerate.

What is random in a step (path, steps, images, noise) depends on the seed, the step and the process
alone, so a resumed run goes on exactly as if it had never stopped.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from theory.costs import is_halving
from theory.errors import InputError
from theory.files import check_new_folder
from theory.schedules import ResolutionSchedule
from theory.spectrum import Spectrum

from .class_labels import Classes, require_classes
from .config import TrainConfig, write_config
from .data import to_float
from .flexi_unet import FlexiUNet
from .objective import PathSampler, denoising_loss
from .pictures import save_grid
from .pipeline import SCHEDULE_FILE, ScaleSpacePipeline
from .process import ScaleSpaceProcess

_MEASURED = 16384  # images that the model's spectrum is measured on, at most
_PATH, _IMAGES, _NOISE = range(3)  # streams of random numbers within a step


def use_bf16(device: torch.device | str) -> bool:
    """Whether ``device`` computes in bfloat16 itself, so that autocast to it saves time."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # no public name yet
    return bool(supported and supported())


def build_unet(
    config: TrainConfig,
    schedule: ResolutionSchedule,
    channels: int,
    num_classes: int | None = None,
) -> FlexiUNet:
    """Network of the configured width with the levels of the schedule, seeded."""
    full = schedule.resolution
    if off := [level for level in schedule.levels if not is_halving(full, level)]:
        raise InputError(f"schedule: levels {off} are not {full} halved; the network cannot run")
    overrides: dict[str, Any] = {
        "in_channels": channels,
        "num_classes": num_classes,
        "time_input": config.time_input,
    }
    if config.base_channels is not None:
        overrides["base_channels"] = config.base_channels
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        unet = FlexiUNet.from_preset(f"{config.network}-{full}", **overrides)
    if lacking := [level for level in schedule.levels if level not in unet.resolutions]:
        raise InputError(
            f"schedule: levels {lacking} are below the network's smallest, "
            f"{unet.resolutions[-1]}; derive one with fewer levels"
        )
    unet.gradient_checkpointing = config.gradient_checkpointing
    return unet


class Trainer:
    """Trains a `FlexiUNet` on images and a schedule, in a run directory.

    Parameters
    ----------
    images : (N, R, R, C) uint8 array
    schedule : ResolutionSchedule
        Of resolution R.
    run : path
        The run directory; must be new unless ``resume``.
    config : TrainConfig
    data : str
        Name of the data, kept in ``config.yaml``.
    resume : bool
        Go on from the last checkpoint in ``run``.
    classes : Classes, optional
        Of the images; needed exactly if ``config.class_conditional``.
    """

    def __init__(
        self,
        images: np.ndarray,
        schedule: ResolutionSchedule,
        run: str | os.PathLike[str],
        config: TrainConfig | None = None,
        data: str = "array",
        resume: bool = False,
        classes: Classes | None = None,
    ):
        config = config or TrainConfig()
        self.classes = None
        if config.class_conditional:
            self.classes = require_classes(classes, len(images), data)
        if images.ndim != 4 or images.shape[1:3] != (schedule.resolution,) * 2:
            raise InputError(
                f"images: have shape {images.shape}, the schedule needs "
                f"(N, {schedule.resolution}, {schedule.resolution}, C)"
            )
        self.images, self.schedule, self.config, self.data = images, schedule, config, data
        self.run = Path(run)
        self.process = ScaleSpaceProcess(schedule)
        self.paths = PathSampler(schedule, config.change_fraction)
        self.accelerator = Accelerator(
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        num_classes = None if self.classes is None else len(self.classes.names)
        unet = build_unet(config, schedule, images.shape[-1], num_classes)
        optimizer = torch.optim.AdamW(
            unet.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=self.accelerator.device.type in ("cpu", "cuda"),
        )
        self.unet, self.optimizer = self.accelerator.prepare(unet, optimizer)
        plain = self.accelerator.unwrap_model(self.unet, keep_fp32_wrapper=False)
        self.ema = AveragedModel(plain, multi_avg_fn=self._ema_update)
        on_gpu = self.accelerator.device.type == "cuda"
        compiled = on_gpu if config.compile is None else config.compile
        if compiled:
            plain.compile()
        self.bf16 = use_bf16(self.accelerator.device) if config.bf16 is None else config.bf16
        self.step = 0
        checkpoints = self._checkpoints()
        if resume:
            if not checkpoints:
                raise InputError(f"{self.run}: holds no checkpoint to resume from")
            self._load(checkpoints[-1])
        else:
            check_new_folder(self.run)

    def train(self, progress: bool = True) -> None:
        """Run until ``config.steps``; writes metrics, checkpoints, samples and the model."""
        main = self.accelerator.is_main_process
        if main:
            self._prepare_folder()
        self.unet.train()
        bar = tqdm(
            total=self.config.steps,
            initial=self.step,
            desc="train",
            unit="step",
            disable=not (progress and main),
        )
        losses: list[Tensor] = []
        since = time.perf_counter()
        with bar:
            while self.step < self.config.steps:
                losses.append(self._train_step())
                self.step += 1
                bar.update()
                last = self.step == self.config.steps
                if self.step % self.config.log_every == 0 or last:
                    loss = float(torch.stack(losses).mean())
                    if not math.isfinite(loss):
                        raise InputError(
                            f"step {self.step}: the loss is not finite; lower the learning rate "
                            "and --resume from the last checkpoint"
                        )
                    seconds = time.perf_counter() - since
                    self._log(loss, len(losses), seconds)
                    bar.set_postfix(loss=f"{loss:.4f}")
                    losses, since = [], time.perf_counter()
                if self.step % self.config.checkpoint_every == 0 or last:
                    self._checkpoint()
        self._save_model()

    def pipeline(self) -> ScaleSpacePipeline:
        """The averaged weights as a pipeline."""
        names = None if self.classes is None else self.classes.names
        unet = cast(FlexiUNet, self.ema.module)
        return ScaleSpacePipeline(unet, self.schedule, self.spectrum, names)

    @cached_property
    def spectrum(self) -> Spectrum | None:
        """Of the training images, or of 16,384 of them; None for a single image."""
        if len(self.images) < 2:
            return None
        chosen = self.images[:: max(len(self.images) // _MEASURED, 1)][:_MEASURED]
        parts = (to_float(chosen[i : i + 1024]) for i in range(0, len(chosen), 1024))
        return replace(Spectrum.from_images(parts, {"source": self.data}), moments=None)

    def _train_step(self) -> Tensor:
        config, device = self.config, self.accelerator.device
        process_index = self.accelerator.process_index
        rng = np.random.default_rng([config.seed, self.step, _IMAGES, process_index])
        shared = np.random.default_rng([config.seed, self.step, _PATH])
        n = config.batch_size
        t = self.paths.draw(shared, rng, n)
        chosen = rng.integers(len(self.images), size=n)
        batch = torch.from_numpy(self.images[chosen])
        x0 = batch.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1  # (N, C, R, R)
        labels = None
        if self.classes is not None:
            dropped = rng.random(n) < config.class_dropout
            labels = torch.from_numpy(np.where(dropped, -1, self.classes.labels[chosen])).to(device)
        seeds = np.random.SeedSequence([config.seed, self.step, _NOISE, process_index])
        generator = torch.Generator(device).manual_seed(int(seeds.generate_state(1, np.uint64)[0]))
        r = self.process.resolution(int(t[0]))
        noise = torch.randn(n, x0.shape[1], r, r, generator=generator, device=device)
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * self._rate()
        # Dropout, if any, is the only draw from the global generator.
        torch.manual_seed(int(seeds.generate_state(2, np.uint32)[1]))
        # Not accelerate's mixed precision, which is one setting for the whole Python process.
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            loss = denoising_loss(
                self.unet,
                self.process,
                x0,
                t,
                noise,
                config.snr_clip,
                labels,
                config.time_input,
            )
        weight = self.paths.weight(int(t[0])) if config.reweight_changes else 1.0
        self.accelerator.backward(loss * weight)
        self.accelerator.clip_grad_norm_(self.unet.parameters(), config.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.update_parameters(self.accelerator.unwrap_model(self.unet))
        return loss.detach()

    def _rate(self) -> float:
        """Learning rate of the present step over the configured one."""
        warm = min(1.0, (self.step + 1) / max(self.config.warmup_steps, 1))
        if not self.config.cosine_decay:
            return warm
        return warm * 0.5 * (1 + math.cos(math.pi * self.step / self.config.steps))

    def _ema_update(self, average: Any, current: Any, _: Any) -> None:
        n = self.step + 1
        decay = min(self.config.ema_decay, (1 + n) / (10 + n))
        torch._foreach_lerp_(list(average), list(current), 1 - decay)

    def _prepare_folder(self) -> None:
        try:
            (self.run / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.run}: cannot be written ({error.strerror or error}); choose another folder"
            ) from None
        write_config(self.run / "config.yaml", self.config, self.data)
        self.schedule.save(self.run / SCHEDULE_FILE)
        metrics = self.run / "metrics.jsonl"
        if metrics.exists():  # forget what was logged after the checkpoint that is resumed from
            lines = metrics.read_text().splitlines()
            kept = [line for line in lines if json.loads(line)["step"] <= self.step]
            metrics.write_text("".join(line + "\n" for line in kept))
        from torch.utils.tensorboard import SummaryWriter

        self.board = SummaryWriter(str(self.run), purge_step=self.step + 1)

    def _log(self, loss: float, count: int, seconds: float) -> None:
        if not self.accelerator.is_main_process:
            return
        processes = self.accelerator.num_processes
        entry = {
            "step": self.step,
            "loss": loss,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "images_per_second": count * self.config.batch_size * processes / seconds,
        }
        with open(self.run / "metrics.jsonl", "a") as file:
            file.write(json.dumps(entry) + "\n")
        for name, value in entry.items():
            self.board.add_scalar(name, value, self.step)
        self.board.flush()

    def _checkpoints(self) -> list[Path]:
        return sorted((self.run / "checkpoints").glob("step_*"))

    def _checkpoint(self) -> None:
        """Write the state aside, flush it, and rename: complete or absent."""
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        final = self.run / "checkpoints" / f"step_{self.step:07d}"
        aside = final.with_name(f".{final.name}.partial")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(final, ignore_errors=True)
        aside.mkdir(parents=True)
        plain = self.accelerator.unwrap_model(self.unet, keep_fp32_wrapper=False)
        save_file(_contiguous(plain.state_dict()), aside / "model.safetensors")
        save_file(_contiguous(self.ema.module.state_dict()), aside / "ema.safetensors")
        torch.save(self.optimizer.state_dict(), aside / "optimizer.pt")
        (aside / "state.json").write_text(json.dumps({"step": self.step}))
        for file in aside.iterdir():
            with open(file, "rb+") as handle:
                os.fsync(handle.fileno())
        os.replace(aside, final)
        for old in self._checkpoints()[:-2]:
            shutil.rmtree(old)

    def _load(self, checkpoint: Path) -> None:
        try:
            state = json.loads((checkpoint / "state.json").read_text())
            plain = self.accelerator.unwrap_model(self.unet, keep_fp32_wrapper=False)
            plain.load_state_dict(load_file(checkpoint / "model.safetensors"))
            self.ema.module.load_state_dict(load_file(checkpoint / "ema.safetensors"))
            self.optimizer.load_state_dict(
                torch.load(checkpoint / "optimizer.pt", map_location="cpu", weights_only=True)
            )
        except Exception as error:
            raise InputError(
                f"{checkpoint}: cannot be resumed ({' '.join(str(error).split())[:200]})"
            ) from error
        self.ema.n_averaged.fill_(1)  # zero would copy the model over the average
        self.step = int(state["step"])

    def _save_model(self) -> None:
        if not self.accelerator.is_main_process:
            return
        final, aside = self.run / "model", self.run / ".model.partial"
        shutil.rmtree(aside, ignore_errors=True)
        pipeline = self.pipeline()
        pipeline.save_pretrained(aside)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(aside, final)
        if self.images.shape[-1] in (1, 3):
            generator = torch.Generator().manual_seed(self.config.seed)
            labels = None if self.classes is None else list(range(len(self.classes.names)))[:16]
            samples = pipeline(
                16,
                30,
                generator=generator,
                class_labels=labels,
                output_type="np",
                bf16=self.bf16,
            )
            save_grid(samples.images, self.run / "samples" / f"step_{self.step:07d}.png")


def _contiguous(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
