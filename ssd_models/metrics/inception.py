"""FID, KID, precision and recall by torch-fidelity, where its weights may be had."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from theory.errors import InputError, reason

from .checks import check_pair

INSTALL = 'pip install "scale-space-diffusion[metrics]"'
_NAMES = {  # torch-fidelity's, and ours
    "frechet_inception_distance": "fid",
    "kernel_inception_distance_mean": "kid",
    "kernel_inception_distance_std": "kid_deviation_of_subsets",
    "precision": "precision",
    "recall": "recall",
}
_SUBSET = 1000  # images of a subset for KID, at most


class _Images(Dataset):
    """uint8 (N, R, R, C) as tensors (3, R, R), which is what torch-fidelity takes."""

    def __init__(self, images: np.ndarray):
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> torch.Tensor:
        image = torch.from_numpy(np.ascontiguousarray(self._images[index]))
        return image.permute(2, 0, 1).expand(3, -1, -1).contiguous()


def inception_metrics(
    sampled: np.ndarray,
    reference: np.ndarray,
    weights: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """FID (Heusel et al. 2017), KID (Bińkowski et al. 2018), precision and recall.

    Parameters
    ----------
    sampled, reference : (N, R, R, C) and (M, R, R, C) uint8
        FID is biased for few images; the field quotes it for 50,000.
    weights : path, optional
        Local file of torch-fidelity's Inception network, as its download; without one
        torch-fidelity downloads it.
    cache : folder, optional
        Of statistics of reference images, by their digest; torch-fidelity's own by default.

    Returns
    -------
    dict
        ``fid``, ``kid``, ``kid_deviation_of_subsets``, ``precision``, ``recall``, and the two
        ``counts``.

    Raises
    ------
    InputError
        If torch-fidelity cannot be used, the weights are no tensors, or images do not fit.
    """
    check_pair(sampled, reference, 4)
    if weights is not None:
        check_weights(Path(weights))
    try:
        import torch_fidelity
    except (ImportError, RuntimeError) as error:  # torchvision of another torch: RuntimeError
        raise InputError(
            f"inception metrics: torch-fidelity cannot be used ({reason(error)}); {INSTALL}"
        ) from None
    digest = hashlib.sha256(np.ascontiguousarray(reference).tobytes()).hexdigest()[:16]
    found = torch_fidelity.calculate_metrics(
        input1=_Images(sampled),
        input2=_Images(reference),
        input2_cache_name=f"{digest}-{Path(weights).name if weights else 'own'}",
        cache_root=None if cache is None else str(cache),
        feature_extractor_weights_path=None if weights is None else str(weights),
        cuda=torch.cuda.is_available(),
        fid=True,
        kid=True,
        prc=True,
        kid_subset_size=min(_SUBSET, len(sampled), len(reference)),
        verbose=False,
    )
    return {
        **{ours: float(found[name]) for name, ours in _NAMES.items()},
        "counts": {"sampled": len(sampled), "reference": len(reference)},
    }


def check_weights(path: Path) -> None:
    """Refuse a file that holds anything but tensors: torch-fidelity would run code from it."""
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; give one, or `download`")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # as many kinds as there are files that are none
        raise InputError(f"{path}: is no file of weights ({reason(error)})") from None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InputError(f"{path}: holds something else than named tensors")
