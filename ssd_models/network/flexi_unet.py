"""Flexi-UNet: one U-Net that reads and writes several resolutions, running only what they need.

Mukhopadhyay et al., Scale Space Diffusion, CVPR 2026. A state of resolution r enters the encoder at
the level of r, and the prediction leaves the decoder at the level of its own resolution; blocks of
larger levels do not run. Parameter names follow guided-diffusion.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from theory.schedule.costs import paper_architecture
from theory.support.errors import InputError, reason

from .blocks import Architecture, Stage, group_norm, zeroed
from .embedding import TimeInput, check_time_input, sinusoidal_embedding, steps_of_logsnr
from .model_files import NETWORK_FILES, model_directory
from .normalization import full_precision

# Widths by name; the image size chooses the multipliers: "paper-64", "small-32".
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"base_channels": 128, "num_res_blocks": 2},  # 64 px: 92 M parameters
    "small": {"base_channels": 32, "num_res_blocks": 1},  # for CPUs; 64 px: 4 M parameters
}
_GROUP_SIZE = 16  # channels of a normalization group, see `normalization`
_GRAPHS = 256  # compiled at most: paths by precision, gradient and batch size, over all networks


class FlexiUNetOutput(NamedTuple):
    """What a call of `FlexiUNet` returns."""

    sample: Tensor  # (N, C, h_s, w_s): the predicted clean image at the output resolution


class FlexiUNet(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="scale-space-diffusion",
    paper_url="https://arxiv.org/abs/2603.08709",
):
    """Denoiser over the resolutions R, R/2, …: predicts ``E[M x_0 | x_t]`` at the next resolution.

    A *path* is a pair of input and output resolution; each runs the encoder from its input level
    down and the decoder up to its output level. The two variants differ in

    | | default | paper, as published |
    | --- | --- | --- |
    | decoder blocks of the output level | all | all but the last |
    | change into full resolution | enters at its level | the input resized up enters at the top |
    | decoder block without a skip | leaves out the skip's weights | reads zeros for the skip |
    | normalization | groups of 16 channels | 32 groups |
    | output | ``head(h) + gate(emb) * x_t``, with ``x_t`` resized to it | ``head(h)`` |

    Under autocast, normalization statistics, the embedding and the head stay in float32. Weights
    and feature maps are channels last.

    A state need not be square: its resolution is its shorter side, and the prediction has its
    shape, scaled.

    Parameters
    ----------
    image_size : int
        Full resolution R in pixels, divisible by ``2^(len(channel_mult) - 1)``.
    num_levels : int, optional
        How many resolutions R, R/2, … are read and written; by default one per multiplier.
    base_channels : int
        Channels of a level of multiplier 1; even.
    channel_mult : sequence of float
        Width of each level, from full resolution down, as a multiple of ``base_channels``.
    num_res_blocks : int
        Residual blocks of each level in the encoder (one more in the decoder).
    attention_resolutions : sequence of int
        Resolutions (pixels) of the levels with self-attention.
    num_heads : int
        Heads of each attention.
    in_channels : int
        Channels of the image, read and predicted.
    num_classes : int, optional
        Size of the class embedding; None for an unconditional model.
    dropout : float
        Dropout probability in residual blocks.
    variant : {"default", "paper"}
        See above.
    time_input : {"step", "logsnr"}
        How the noise level is given: as the index of a step of the schedule trained on, or as the
        log-snr of the full-resolution chain at that step, which carries over to other schedules.
    preconditioning : {"none", "linear"}
        Meaning of the output: the clean image, or what `ssd_models.diffusion.preconditioning` adds
        to the best linear prediction. Samplers and training apply it; the network only keeps it.

    Attributes
    ----------
    gradient_checkpointing : bool
        Store only the inputs of each stage and recompute the rest in the backward pass: less
        memory, more time, the same gradients. Off by default.

    Raises
    ------
    InputError
        If the levels, widths or heads do not divide, or a name is unknown.
    """

    def __init__(
        self,
        image_size: int = 64,
        num_levels: int | None = None,
        base_channels: int = 128,
        channel_mult: Sequence[float] = (1, 2, 3, 4),
        num_res_blocks: int = 2,
        attention_resolutions: Sequence[int] = (16, 8),
        num_heads: int = 4,
        in_channels: int = 3,
        num_classes: int | None = None,
        dropout: float = 0.0,
        variant: Literal["default", "paper"] = "default",
        time_input: TimeInput = "step",
        preconditioning: Literal["none", "linear"] = "none",
    ) -> None:
        super().__init__()
        widths = [int(base_channels * multiplier) for multiplier in channel_mult]
        num_levels = len(widths) if num_levels is None else num_levels
        check_time_input(time_input)
        if preconditioning not in ("none", "linear"):
            raise InputError(f"preconditioning is {preconditioning!r}; use 'none' or 'linear'.")
        if variant not in ("default", "paper"):
            raise InputError(f"variant is {variant!r}; use 'default' or 'paper'.")
        if not 1 <= num_levels <= len(widths):
            raise InputError(f"num_levels is {num_levels}; channel_mult allows 1 to {len(widths)}.")
        if base_channels < 2 or base_channels % 2:
            raise InputError(f"base_channels is {base_channels}; give a positive even number.")
        if in_channels < 1:
            raise InputError(f"in_channels is {in_channels}; give 1 or more.")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout}; give a number from 0 to below 1.")
        if num_classes is not None and num_classes < 1:
            raise InputError(f"num_classes is {num_classes}; give 1 or more, or None.")
        self.image_size = image_size
        self.num_levels = num_levels
        self.base_channels = base_channels
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.variant = variant
        self.time_input = time_input
        self.preconditioning = preconditioning
        self.depth = len(widths)
        self.stages_per_level = num_res_blocks + 1
        self.gradient_checkpointing = False
        self._compile_options: tuple[tuple[str, Any], ...] | None = None

        emb = 4 * base_channels
        group_size = None if variant == "paper" else _GROUP_SIZE
        architecture = Architecture(
            image_size=image_size,
            widths=widths,
            emb_channels=emb,
            num_res_blocks=num_res_blocks,
            attention_resolutions=attention_resolutions,
            num_heads=num_heads,
            dropout=dropout,
            group_size=group_size,
        )
        self.time_embed = nn.Sequential(
            nn.Linear(base_channels, emb), nn.SiLU(), nn.Linear(emb, emb)
        )
        if num_classes is not None:
            self.label_emb = nn.Embedding(num_classes, emb)
        self.input_blocks, self.skip_widths = architecture.encoder(in_channels)
        self.middle_block = architecture.middle()
        self.output_blocks = architecture.decoder(self.skip_widths)
        width = widths[0]
        self.out = nn.Sequential(
            group_norm(group_size, width),
            nn.SiLU(),
            zeroed(nn.Conv2d(width, in_channels, 3, padding=1)),
        )
        # One adapter a width, shared by all levels of that width. The published network has them
        # for levels that its schedule never visits too.
        adapted = self.depth if variant == "paper" else num_levels
        entries = self.skip_widths[:: self.stages_per_level][:adapted]
        self.adapters_in = nn.ModuleDict(
            {str(w): nn.Conv2d(width, w, 1) for w in entries if w != width}
        )
        self.adapters_out = nn.ModuleDict(
            {str(w): nn.Conv2d(w, width, 1) for w in widths[:adapted] if w != width}
        )
        if variant == "default":
            self.gate = zeroed(nn.Linear(emb, in_channels))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> Self:
        """Build a network from a name such as ``"paper-64"`` or ``"small-32"``.

        Parameters
        ----------
        name : str
            A key of `PRESETS`, a hyphen and the image size in pixels. The size chooses multipliers
            and attention as in `theory.schedule.costs.paper_architecture`.
        **overrides
            Constructor arguments that replace the preset's.

        Raises
        ------
        InputError
            If there is no such preset.
        """
        kind, _, size = name.partition("-")
        if kind not in PRESETS or not (size.isascii() and size.isdigit()):
            kinds = ", ".join(f"{kind}-SIZE" for kind in PRESETS)
            raise InputError(f"there is no preset {name!r}; use one of {kinds} (paper-64).")
        multipliers, attention = paper_architecture(int(size))
        shape = {"channel_mult": multipliers, "attention_resolutions": attention}
        return cls(**{"image_size": int(size), **shape, **PRESETS[kind], **overrides})

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Resolutions that the network reads and writes, from full resolution down."""
        return tuple(self.image_size >> level for level in range(self.num_levels))

    @property
    def paths(self) -> list[tuple[int, int]]:
        """All supported (input resolution, output resolution) pairs."""
        sizes = self.resolutions
        return [(small, large) for small in sizes for large in sizes if small <= large]

    def compile(self, *_: Any, **options: Any) -> None:
        """Compile every path with `torch.compile` at its first call: one whole graph each.

        ``options`` (``mode``, ``backend``) are those of `torch.compile`. Another batch size,
        precision or training mode is another graph. The first call of each waits for the compiler,
        half a minute to one and a half on two CPU cores; later runs find it in the compiler's
        cache. On CPUs it has not paid so far: compiled and eager steps took the same time.
        ``torch.compile(unet)`` works as well: a module in place of this one, which chooses between
        graphs of fixed and of free size by itself.
        """
        self._compile_options = tuple(sorted(options.items()))

    @property
    def is_compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._compile_options is not None

    def forward(
        self,
        x_t: Tensor,
        t: Tensor | float,
        out_resolution: int | None = None,
        class_labels: Tensor | None = None,
    ) -> FlexiUNetOutput:
        """Predict the clean image at ``out_resolution`` from the state ``x_t``.

        Parameters
        ----------
        x_t : (N, C, h, w) tensor
            States; the shorter side is one of `resolutions`.
        t : (N,) tensor or number
            Step index or, with ``time_input="logsnr"``, log-snr of the full-resolution chain;
            one number for all images is allowed.
        out_resolution : int, optional
            Resolution of the prediction in pixels, at least the state's; by default the state's.
        class_labels : (N,) integer tensor
            Below ``num_classes``, negative for no class; given exactly if the model has classes.

        Returns
        -------
        FlexiUNetOutput
            The prediction in ``sample``, of the state's shape scaled to ``out_resolution``;
            float32 under autocast, else in the precision of the parameters.

        Raises
        ------
        InputError
            If a shape or resolution is not supported.
        """
        if x_t.ndim != 4 or x_t.shape[1] != self.in_channels:
            raise InputError(
                f"x_t has shape {tuple(x_t.shape)}; give (N, {self.in_channels}, r, r)."
            )
        r_out = min(x_t.shape[2:]) if out_resolution is None else out_resolution
        self._check_input(x_t, r_out, class_labels)
        n = x_t.shape[0]
        time = torch.as_tensor(t, device=x_t.device)
        if time.shape not in ((), (n,)):
            raise InputError(f"t has shape {tuple(time.shape)}; give ({n},) or one number.")
        compute = FlexiUNet._compute
        if self._compile_options is not None and x_t.device.type != "meta":
            compute = _compiled_paths(self._compile_options)
        return FlexiUNetOutput(compute(self, x_t, time.expand(n).float(), r_out, class_labels))

    def _compute(
        self, x_t: Tensor, time: Tensor, r_out: int, class_labels: Tensor | None
    ) -> Tensor:
        if torch.compiler.is_compiling():
            _allow_graphs()
        if self.variant == "paper" and r_out == self.image_size:
            x_t = _resized_up(x_t, r_out)
        level_in = self.resolutions.index(min(x_t.shape[2:]))
        level_out = self.resolutions.index(r_out)
        dtype = next(self.parameters()).dtype
        x_t = x_t.to(dtype, memory_format=torch.channels_last)
        with full_precision(x_t.device):
            emb = self._embed(time, class_labels, dtype)
            features = F.silu(emb)

        h, skips = self._encode(x_t, features, level_in)
        h = self._run(self.middle_block, h, features)
        h = self._decode(h, skips, features, level_in, level_out)
        if (width := str(h.shape[1])) in self.adapters_out:
            h = self.adapters_out[width](h)
        with full_precision(x_t.device):
            norm, _, head = self.out  # SiLU is computed with the norm
            sample = head(norm(h, activation=True).to(dtype))
            if self.variant == "default":
                gate = self.gate(emb)[:, :, None, None]  # (N, C, 1, 1)
                sample = sample + gate * _resized_up(x_t, r_out)
        return sample

    def _embed(self, time: Tensor, class_labels: Tensor | None, dtype: torch.dtype) -> Tensor:
        """Embedding (N, E) of the noise level and the class."""
        steps = steps_of_logsnr(time) if self.time_input == "logsnr" else time
        emb = self.time_embed(sinusoidal_embedding(steps, self.base_channels).to(dtype))
        if class_labels is None:
            return emb
        known = (class_labels >= 0)[:, None]
        return emb + self.label_emb(class_labels.clamp_min(0)) * known

    def _encode(self, x_t: Tensor, emb: Tensor, level_in: int) -> tuple[Tensor, list[Tensor]]:
        """Run the encoder from ``level_in`` down; returns its output and the skips it made."""
        first = level_in * self.stages_per_level  # the block whose output enters this level
        h = self.input_blocks[0](x_t, emb)
        if (width := str(self.skip_widths[first])) in self.adapters_in:
            h = self.adapters_in[width](h)
        skips = [h]
        for block in self.input_blocks[first + 1 :]:
            h = self._run(block, h, emb)
            skips.append(h)
        return h, skips

    def _decode(
        self, h: Tensor, skips: list[Tensor], emb: Tensor, level_in: int, level_out: int
    ) -> Tensor:
        """Run the decoder from the bottom to ``level_out``; consumes ``skips``."""
        blocks = (self.depth - level_out) * self.stages_per_level
        available = len(skips)
        paper = self.variant == "paper"
        if paper:
            blocks -= 1
            available -= level_out < level_in  # its entry skip goes unused on such a path
        for index, block in enumerate(self.output_blocks[:blocks]):
            if index < available:
                h = torch.cat([h, skips.pop()], dim=1)
            elif paper:  # padding keeps the memory format, where joining new zeros would not
                h = F.pad(h, (0, 0, 0, 0, 0, self.skip_widths[-1 - index]))
            h = self._run(block, h, emb, index + 1 < blocks)
        return h

    def _run(self, stage: nn.Module, h: Tensor, emb: Tensor, upsample: bool = True) -> Tensor:
        assert isinstance(stage, Stage)
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(stage, h, emb, upsample, use_reentrant=False)
        return stage(h, emb, upsample)

    def _check_input(self, x_t: Tensor, r_out: int, class_labels: Tensor | None) -> None:
        r_in = min(x_t.shape[2:])
        if r_in not in self.resolutions or r_out not in self.resolutions or r_out < r_in:
            raise InputError(
                f"no path from resolution {r_in} (x_t) to {r_out} (out_resolution); this network "
                f"keeps or raises {', '.join(map(str, self.resolutions))}."
            )
        lowest = self.image_size >> (self.depth - 1)
        if max(x_t.shape[2:]) % (r_in // lowest):
            raise InputError(
                f"x_t has shape {tuple(x_t.shape)}; at this resolution its longer side must be a "
                f"multiple of {r_in // lowest}."
            )
        if (class_labels is None) != (self.num_classes is None):
            expected = "no classes" if self.num_classes is None else f"{self.num_classes} classes"
            raise InputError(
                f"the network has {expected}; give class_labels exactly if it has any."
            )

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        **model_kwargs: Any,
    ) -> Self:
        """Load the network of a run, a model directory or, as ``hf:OWNER/NAME``, of the hub.

        See `ssd_models.network.model_files.model_directory`; ``model_kwargs`` replace what is
        stored.
        """
        folder = model_directory(
            pretrained_model_name_or_path,
            NETWORK_FILES,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
        )
        return super().from_pretrained(folder, **model_kwargs)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, strict: bool = True, **kwargs: Any) -> Self:
        """Load as the mixin does, but silently, and refuse weights that do not fit."""
        try:
            with contextlib.redirect_stdout(None):
                return super()._from_pretrained(model_id=model_id, strict=strict, **kwargs)
        except (RuntimeError, FileNotFoundError, SafetensorError) as error:
            said = reason(error)
            raise InputError(f"{model_id} holds no weights for its config: {said}") from error


def _resized_up(x: Tensor, resolution: int) -> Tensor:
    """Resize ``x`` (N, C, h, w) bilinearly to ``resolution``; the identity where it has it."""
    factor = resolution // min(x.shape[2:])
    if factor == 1:
        return x
    size = (factor * x.shape[2], factor * x.shape[3])
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _allow_graphs() -> None:
    """Let a compiler make a graph for each path: by default it gives up after eight."""
    import torch._dynamo

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _GRAPHS)


# What `torch.compiler.assume_constant_result` sets, whose import takes two seconds: the function
# runs while a graph is made, and is no part of it.
_allow_graphs._dynamo_marked_constant = True  # type: ignore[attr-defined]


@functools.cache
def _compiled_paths(options: tuple[tuple[str, Any], ...]) -> Callable[..., Tensor]:
    return torch.compile(FlexiUNet._compute, fullgraph=True, dynamic=False, **dict(options))
