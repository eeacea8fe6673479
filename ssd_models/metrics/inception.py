"""FID, KID, precision and recall of Inception features by torch-fidelity (optional extra)."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from theory.support.errors import InputError, reason

from ..devices import compute_device
from ..training.batches import ImageArray
from .checks import check_pair

INSTALL = 'pip install "scale-space-diffusion[metrics]"'
_NETWORK = "inception-v3-compat"
_NAMES = {  # torch-fidelity's name: ours
    "frechet_inception_distance": "fid",
    "kernel_inception_distance_mean": "kid",
    "kernel_inception_distance_std": "kid_deviation_of_subsets",
    "precision": "precision",
    "recall": "recall",
}
_SUBSET = 1000  # most images of a subset for KID
_PART = 1024  # images that are hashed at once


class _Images(Dataset):
    """Data set for torch-fidelity: uint8 tensors (3, R, R) of images (N, R, R, 1 or 3)."""

    def __init__(self, images: ImageArray):
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor:
        image = torch.from_numpy(np.ascontiguousarray(self._images[index : index + 1][0]))
        return image.permute(2, 0, 1).expand(3, -1, -1).contiguous()


def inception_metrics(
    sampled: ImageArray,
    reference: ImageArray,
    weights: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """FID (Heusel et al. 2017), KID (Bińkowski et al. 2018), precision and recall.

    All use Inception features. Kynkäänniemi et al. (2019) define precision and recall with features
    of VGG16; later work uses Inception's.

    Parameters
    ----------
    sampled, reference : (N, R, R, C) and (M, R, R, C) uint8
        At least 4 each. FID is biased for few images; published values use 50,000.
    weights : path, optional
        Local copy of torch-fidelity's weights file of Inception; by default torch-fidelity
        downloads it.
    cache : folder, optional
        Cache of the reference images' features, keyed by digests of images and weights; by default
        torch-fidelity's own. It is read as pickles, so it must not be writable by others.
    seed : int
        Seed of the subsets for KID.
    progress : bool
        Report progress on standard error.

    Returns
    -------
    dict
        ``fid``, ``kid``, ``kid_deviation_of_subsets`` (standard deviation over subsets),
        ``precision``, ``recall``, and ``counts`` of images.

    Raises
    ------
    InputError
        If torch-fidelity cannot be used, the weights belong to another network, or images are
        neither grey nor RGB, too few, or of different sizes.
    """
    check_pair(sampled, reference, 4)
    if (channels := sampled.shape[3]) not in (1, 3):
        raise InputError(f"inception metrics: need grey or RGB images, not {channels} channels")
    state = check_inception(weights)
    import torch_fidelity

    key = hashlib.sha256(repr(reference.shape).encode())
    for start in range(0, len(reference), _PART):
        key.update(reference[start : start + _PART].tobytes())
    key.update(b"" if weights is None else Path(weights).read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        own = None
        if (
            state is not None
        ):  # torch-fidelity unpickles any object: give it the checked tensors only
            own = str(Path(folder, "weights.pth"))
            torch.save(state, own)
        try:
            found = torch_fidelity.calculate_metrics(
                input1=_Images(sampled),
                input2=_Images(reference),
                input2_cache_name=key.hexdigest()[:32],
                cache_root=None if cache is None else str(cache),
                feature_extractor=_NETWORK,
                feature_extractor_weights_path=own,
                cuda=compute_device().type == "cuda",
                fid=True,
                kid=True,
                prc=True,
                kid_subset_size=min(_SUBSET, len(sampled), len(reference)),
                rng_seed=seed,
                save_cpu_ram=True,  # compute distances in parts
                verbose=progress,
            )
        except RuntimeError as error:
            if state is None or "state_dict" not in str(error):
                raise
            raise InputError(
                f"{weights}: are the weights of another network ({reason(error, 100)} …); give "
                "torch-fidelity's, or `download`"
            ) from None
    return {
        **{ours: float(found[name]) for name, ours in _NAMES.items()},
        "counts": {"sampled": len(sampled), "reference": len(reference)},
    }


def check_inception(weights: str | os.PathLike[str] | None = None) -> dict[str, Tensor] | None:
    """Check the weights file and the installation of torch-fidelity before any long computation.

    Returns
    -------
    dict or None
        The file's tensors; None if ``weights`` is None.

    Raises
    ------
    InputError
        If the file holds anything but named tensors (other pickles could run code), or
        torch-fidelity or torchvision cannot be imported.
    """
    state = None if weights is None else _tensors(Path(weights))
    try:
        import torch_fidelity  # noqa: F401
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision does not match torch
        raise InputError(
            f"inception metrics: torch-fidelity cannot be used ({reason(error)}); {INSTALL}"
        ) from None
    return state


def _tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; give one, or `download`")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise many types of exceptions
        raise InputError(
            f"{path}: is no file of weights ({reason(error)}); give torch-fidelity's, or `download`"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(
            f"{path}: holds something else than named tensors; give torch-fidelity's weights, or "
            "`download`"
        )
    return state
