"""Flexi-UNet: one U-Net that reads and writes several resolutions, running only what they need.

Mukhopadhyay et al., Scale Space Diffusion, CVPR 2026. A state of resolution r enters the encoder at
the level of r, and the prediction leaves the decoder at the level of its own resolution; blocks of
larger levels do not run. Parameter names follow guided-diffusion.
"""

import contextlib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from theory.costs import paper_architecture
from theory.errors import InputError

from .blocks import (
    Architecture,
    GroupNorm,
    full_precision,
    resized_up,
    sinusoidal_embedding,
    zeroed,
)

# Widths by name; the image size chooses the multipliers: "paper-64", "small-32".
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"base_channels": 128, "num_res_blocks": 2},  # 64 px: 92 M parameters
    "small": {"base_channels": 32, "num_res_blocks": 1},  # for CPUs; 64 px: 4 M parameters
}


class FlexiUNetOutput(NamedTuple):
    """What a call of :class:`FlexiUNet` returns."""

    sample: Tensor  # (N, C, r_s, r_s): the predicted clean image at the output resolution


class FlexiUNet(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="scale-space-diffusion",
    paper_url="https://arxiv.org/abs/2603.08709",
):
    """Denoiser over the resolutions R, R/2, …: predicts ``E[M x_0 | x_t]`` at the next resolution.

    The default variant runs and trains every block: a path runs the whole decoder group of its
    output resolution (less the upsampling that would leave it), a change into full resolution takes
    the resolution-increasing path, and the output is ``head(h) + gate(emb) * x_t``, with ``x_t``
    resized up to the output resolution. The paper's variant computes what the published
    implementation computes: the last decoder block of the output group is skipped (at full
    resolution too), a change into full resolution resizes the input up and runs the whole network,
    and the output is ``head(h)`` alone. In both, skips that a path does not produce are zeros, and
    under autocast normalization statistics, the embedding and the head stay in float32.

    Args:
        image_size: full resolution R in pixels, divisible by ``2^(len(channel_mult) - 1)``.
        num_levels: how many resolutions R, R/2, … are read and written; default: as many as there
            are multipliers.
        base_channels: channels that multiplier 1 stands for; even.
        channel_mult: width of each level, from full resolution down, in base channels.
        num_res_blocks: residual blocks a level in the encoder (one more in the decoder).
        attention_resolutions: resolutions (pixels) of the levels with self-attention.
        num_heads: heads of each attention.
        in_channels: channels of the image, read and predicted.
        num_classes: size of the class embedding; None for an unconditional model.
        dropout: dropout probability in residual blocks.
        variant: "default" or "paper", see above.

    Raises:
        InputError: if the levels, widths or heads do not divide, or the variant is unknown.
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
    ) -> None:
        super().__init__()
        widths = [int(base_channels * multiplier) for multiplier in channel_mult]
        num_levels = len(widths) if num_levels is None else num_levels
        if variant not in ("default", "paper"):
            raise InputError(f"variant is {variant!r}; use 'default' or 'paper'.")
        if not 1 <= num_levels <= len(widths):
            raise InputError(f"num_levels is {num_levels}; channel_mult allows 1 to {len(widths)}.")
        if base_channels < 2 or base_channels % 2:
            raise InputError(f"base_channels is {base_channels}; give a positive even number.")
        self.image_size = image_size
        self.num_levels = num_levels
        self.base_channels = base_channels
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.variant = variant
        self.depth = len(widths)
        self.stages_per_level = num_res_blocks + 1

        emb = 4 * base_channels
        # The published network has 32 groups everywhere, one channel a group where it is narrow.
        min_group = 1 if variant == "paper" else 4
        architecture = Architecture(
            image_size=image_size,
            widths=widths,
            emb_channels=emb,
            num_res_blocks=num_res_blocks,
            attention_resolutions=attention_resolutions,
            num_heads=num_heads,
            dropout=dropout,
            min_group=min_group,
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
            GroupNorm(width, min_group),
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

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> Self:
        """Build a network from a name such as ``"paper-64"`` or ``"small-32"``.

        Args:
            name: a key of :data:`PRESETS`, a hyphen and the image size in pixels. The size chooses
                multipliers and attention as in :func:`theory.costs.paper_architecture`.
            **overrides: constructor arguments that replace the preset's.

        Raises:
            InputError: if there is no such preset.
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

    def forward(
        self,
        x_t: Tensor,
        t: Tensor | int,
        out_resolution: int | None = None,
        class_labels: Tensor | None = None,
    ) -> FlexiUNetOutput:
        """Predict the clean image at ``out_resolution`` from the state ``x_t``.

        Args:
            x_t: states, (N, C, r, r), r one of :attr:`resolutions`.
            t: step index, (N,) or one for all.
            out_resolution: resolution of the prediction in pixels, at least r; default r.
            class_labels: (N,) integers below ``num_classes``, exactly if the model has classes.

        Returns:
            The prediction in ``sample``, (N, C, out_resolution, out_resolution), float32 under
            autocast, else in the precision of the parameters.

        Raises:
            InputError: if a shape or resolution is not supported.
        """
        n, r_in = x_t.shape[0], x_t.shape[-1]
        r_out = r_in if out_resolution is None else out_resolution
        self._check_input(x_t, r_out, class_labels)
        if self.variant == "paper" and r_out == self.image_size:
            x_t = resized_up(x_t, r_out)
            r_in = r_out
        level_in, level_out = self.resolutions.index(r_in), self.resolutions.index(r_out)
        dtype = next(self.parameters()).dtype
        x_t = x_t.to(dtype)

        with full_precision(x_t.device):
            steps = torch.as_tensor(t, device=x_t.device)
            if steps.shape not in ((), (n,)):
                raise InputError(f"t has shape {tuple(steps.shape)}; give ({n},) or one integer.")
            emb = self.time_embed(
                sinusoidal_embedding(steps.expand(n), self.base_channels).to(dtype)
            )
            if class_labels is not None:
                emb = emb + self.label_emb(class_labels)

        h, skips = self._encode(x_t, emb, level_in)
        h = self._decode(self.middle_block(h, emb), skips, emb, level_in, level_out)
        if (width := str(h.shape[1])) in self.adapters_out:
            h = self.adapters_out[width](h)
        with full_precision(x_t.device):
            sample = self.out(h.to(dtype))
            if self.variant == "default":
                gate = self.gate(emb)[:, :, None, None]  # (N, C, 1, 1)
                sample = sample + gate * resized_up(x_t, r_out)
        return FlexiUNetOutput(sample)

    def _encode(self, x_t: Tensor, emb: Tensor, level_in: int) -> tuple[Tensor, list[Tensor]]:
        """Run the encoder from ``level_in`` down; returns its output and the skips it made."""
        first = level_in * self.stages_per_level  # the block whose output enters this level
        h = self.input_blocks[0](x_t, emb)
        if (width := str(self.skip_widths[first])) in self.adapters_in:
            h = self.adapters_in[width](h)
        skips = [h]
        for block in self.input_blocks[first + 1 :]:
            h = block(h, emb)
            skips.append(h)
        return h, skips

    def _decode(
        self, h: Tensor, skips: list[Tensor], emb: Tensor, level_in: int, level_out: int
    ) -> Tensor:
        """Run the decoder from the bottom to ``level_out``; consumes ``skips``."""
        blocks = (self.depth - level_out) * self.stages_per_level
        available = len(skips)
        if self.variant == "paper":
            blocks -= 1
            available -= level_out < level_in  # its entry skip goes unused on such a path
        for index, block in enumerate(self.output_blocks[:blocks]):
            if index < available:
                h = torch.cat([h, skips.pop()], dim=1)
            else:  # padding keeps the memory format, where joining new zeros would not
                h = F.pad(h, (0, 0, 0, 0, 0, self.skip_widths[-1 - index]))
            h = block(h, emb, upsample=index + 1 < blocks)
        return h

    def _check_input(self, x_t: Tensor, r_out: int, class_labels: Tensor | None) -> None:
        if x_t.ndim != 4 or x_t.shape[1] != self.in_channels or x_t.shape[2] != x_t.shape[3]:
            raise InputError(
                f"x_t has shape {tuple(x_t.shape)}; give (N, {self.in_channels}, r, r)."
            )
        r_in = x_t.shape[-1]
        if (r_in, r_out) not in self.paths:
            raise InputError(
                f"no path from resolution {r_in} (x_t) to {r_out} (out_resolution); this network "
                f"keeps or raises {', '.join(map(str, self.resolutions))}."
            )
        if (class_labels is None) != (self.num_classes is None):
            expected = "no classes" if self.num_classes is None else f"{self.num_classes} classes"
            raise InputError(
                f"the network has {expected}; give class_labels exactly if it has any."
            )

    @classmethod
    def _from_pretrained(cls, *, model_id: str, strict: bool = True, **kwargs: Any) -> Self:
        """Load as the mixin does, but silently, and refuse weights that do not fit."""
        try:
            with contextlib.redirect_stdout(None):
                return super()._from_pretrained(model_id=model_id, strict=strict, **kwargs)
        except (RuntimeError, FileNotFoundError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{model_id} holds no weights for its config: {reason}") from error


def forward_flops(unet: FlexiUNet, resolution_in: int, resolution_out: int) -> int:
    """Cost of one forward call of ``unet`` for one image, in FLOP (2 per multiply-add).

    Counted by running the operators on the meta device: nothing is computed, whatever the size.
    Raises InputError where a call would.
    """
    weights = {name: p.detach().to("meta") for name, p in unet.named_parameters()}
    x_t = torch.empty(1, unet.in_channels, resolution_in, resolution_in, device="meta")
    labels = None
    if unet.num_classes is not None:
        labels = torch.zeros(1, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        functional_call(unet, weights, (x_t, 0, resolution_out, labels))
    return counter.get_total_flops()
