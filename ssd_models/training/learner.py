"""One optimizer step: accumulated gradients, clipping, AdamW, averaged weights (EMA)."""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..devices import use_bf16, use_compile
from ..network.flexi_unet import FlexiUNet
from ..sampling.pipeline import ScaleSpacePipeline
from .batches import Batch, Batches
from .checkpoints import MODEL_FOLDER
from .config import TrainConfig
from .objective import DenoisingLoss

_WEIGHTS, _OPTIMIZER = "weights.safetensors", "optimizer.pt"


class Learner:
    """Network with its optimizer and its averaged weights, on the devices of an accelerator.

    Parameters
    ----------
    unet : FlexiUNet
    config : TrainConfig
    accelerator : Accelerator
    loss : DenoisingLoss

    Attributes
    ----------
    plain : FlexiUNet
        The network without its distributed wrapper.
    optimizer : torch.optim.Optimizer
    averaged : FlexiUNet
        Copy with the exponential moving average (EMA) of the weights.
    bf16 : bool
        Whether training uses bfloat16 autocast.
    """

    def __init__(
        self,
        unet: FlexiUNet,
        config: TrainConfig,
        accelerator: Accelerator,
        loss: DenoisingLoss,
    ):
        self.config, self.accelerator = config, accelerator
        self.device = accelerator.device
        on_gpu = self.device.type == "cuda"
        optimizer = torch.optim.AdamW(
            unet.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=on_gpu or self.device.type == "cpu",
        )
        self.unet, self.optimizer = accelerator.prepare(unet, optimizer)
        self.plain: FlexiUNet = accelerator.unwrap_model(self.unet, keep_fp32_wrapper=False)
        self.averaged = copy.deepcopy(self.plain).requires_grad_(False).eval()
        self._averages = list(self.averaged.parameters())
        self._weights = list(self.plain.parameters())
        self._loss = loss
        if use_compile(self.device, config.compile):
            self.plain.compile()
        self.bf16 = use_bf16(self.device, config.bf16)
        self.unet.train()

    def step(self, batches: list[Batch], source: Batches, weight: float) -> Tensor:
        """Take one optimizer step.

        Parameters
        ----------
        batches : list of Batch
            Batches whose gradients are averaged.
        source : Batches
            Source of the batches, for their noise.
        weight : float
            Weight of the loss.

        Returns
        -------
        terms : (5,) tensor
            `LossTerms` of this process, averaged over its batches, and the norm of the gradient
            over all processes.
        """
        config, step = self.config, batches[0].step
        rows = []
        for batch in batches:
            x0, noise = batch.x0(self.device), source.noise(batch, self.device)
            labels = batch.class_labels(self.device)
            last = batch is batches[-1]
            with nullcontext() if last else self.accelerator.no_sync(self.unet):
                # Accelerate's mixed precision would be one setting for the Python process.
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                    terms = self._loss(self.unet, x0, batch.t, noise, labels)
                self.accelerator.backward(terms.loss * (weight / len(batches)))
            rows.append(torch.stack([term.detach().float() for term in terms]))
        norm = self.accelerator.clip_grad_norm_(self._weights, config.gradient_clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        # The average starts with the weights after the first step.
        decay = min(config.ema_decay, (2 + step) / (11 + step)) if step else 0.0
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._weights, 1 - decay)
        return torch.cat([torch.stack(rows).mean(0), norm.reshape(1).float()])

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        config = self.config
        rate = config.learning_rate * min(1.0, (step + 1) / max(config.warmup_steps, 1))
        if not config.cosine_decay:
            return rate
        return rate * 0.5 * (1 + math.cos(math.pi * step / config.steps))

    def save(self, folder: Path, averaged: ScaleSpacePipeline) -> None:
        """Write the averaged model, the weights and the state of the optimizer."""
        averaged.save_pretrained(folder / MODEL_FOLDER)
        state = self.plain.state_dict()
        weights = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        save_file(weights, folder / _WEIGHTS)
        torch.save(self.optimizer.state_dict(), folder / _OPTIMIZER)

    def load(self, folder: Path) -> None:
        """Load the files of `save`; errors of damaged files are not converted."""
        self.plain.load_state_dict(load_file(folder / _WEIGHTS))
        self.averaged.load_state_dict(load_file(folder / MODEL_FOLDER / "model.safetensors"))
        stored = torch.load(folder / _OPTIMIZER, map_location="cpu", weights_only=True)
        self.optimizer.load_state_dict(stored)
        for group in self.optimizer.param_groups:  # the option may differ with --allow-drift
            group["weight_decay"] = self.config.weight_decay
