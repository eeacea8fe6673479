"""Classes of a dataset: their names, and the class of each image.

An image's class is the name of the folder that holds it, so that ``train/cat`` and ``val/cat`` are
one. A ``dataset.json`` in a folder or zip (the convention of StyleGAN and EDM: ``{"labels":
[["00000/img0.png", 3], …]}``) goes before folders, and an ``.npz`` names classes by its integer
array ``labels`` (or ``arr_1``, as guided-diffusion writes it).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from theory.errors import InputError


@dataclass(frozen=True, eq=False)
class Classes:
    """Class of each image of a dataset."""

    labels: np.ndarray  # (N,) int64, indices into names
    names: tuple[str, ...]  # in natural order

    def __getitem__(self, indices: Sequence[int] | slice) -> Classes:
        """Labels of some images; the names stay."""
        return Classes(self.labels[indices], self.names)

    @property
    def counts(self) -> dict[str, int]:
        """Images of each class."""
        found = np.bincount(self.labels, minlength=len(self.names))
        return dict(zip(self.names, found.tolist(), strict=True))


def classes_of_folders(names: Sequence[str]) -> Classes | None:
    """Classes from image paths (with ``/``); None if one lies in no folder or all in the same."""
    folders = [PurePosixPath(name).parent.name for name in names]
    found = sorted(set(folders))
    if "" in found or len(found) < 2:
        return None
    index = {folder: i for i, folder in enumerate(found)}
    return Classes(np.array([index[folder] for folder in folders]), tuple(found))


def classes_of_json(text: bytes, names: Sequence[str], where: str) -> Classes | None:
    """Classes from the text of a ``dataset.json``; None if it says that there are no labels.

    Raises
    ------
    InputError
        If it is damaged, or has no label for an image.
    """
    try:
        entries = json.loads(text).get("labels")
        given = None if entries is None else {str(name): int(label) for name, label in entries}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f'{where}: is not {{"labels": [[name, number], …]}} ({error}); mend or remove it'
        ) from None
    if given is None:
        return None
    if missing := [name for name in names if name not in given]:
        raise InputError(f"{where}: has no label for {len(missing)} images, such as {missing[0]}")
    return classes_of_numbers(np.array([given[name] for name in names]), where)


def classes_of_numbers(labels: np.ndarray, where: str) -> Classes:
    """Classes from numbers 0, 1, …, which are their names too.

    Raises
    ------
    InputError
        If a label is no whole number of at least 0, or labels are not one an image.
    """
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or (labels.size and labels.min() < 0):
        raise InputError(
            f"{where}: labels are {labels.dtype} of shape {labels.shape}; give whole numbers from "
            "0, one an image"
        )
    count = int(labels.max()) + 1 if labels.size else 0
    return Classes(labels.astype(np.int64), tuple(str(i) for i in range(count)))
