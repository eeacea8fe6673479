"""Classes of a dataset: their names, and the class of each image.

| dataset | class of an image |
| --- | --- |
| folder, zip with a ``dataset.json`` | its number there |
| other folder, zip | the folder that holds it: ``train/cat`` and ``val/cat`` are the same class |
| ``.npz`` | its number in the array ``labels``, or ``arr_1`` as in guided-diffusion |

A ``dataset.json`` reads ``{"labels": [["00000/img0.png", 3], …]}`` as in StyleGAN and EDM. It lies
in a folder that holds all images, to which its names are relative.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from theory.support.errors import InputError
from theory.support.reading import parse_json, read_json

MOST_CLASSES = 2**20  # larger labels are something else, such as identifiers

ClassLabels = int | str | Sequence[int | str]  # of classes, by number or name


@dataclass(frozen=True, eq=False)
class Classes:
    """Class of each image of a dataset."""

    labels: np.ndarray  # (N,) int64, indices into names
    names: tuple[str, ...]  # in natural order

    def __getitem__(self, indices: Sequence[int] | slice) -> Classes:
        """Classes of some of the images, under the same names."""
        return Classes(self.labels[indices], self.names)

    @property
    def counts(self) -> dict[str, int]:
        """Number of images of each class."""
        found = np.bincount(self.labels, minlength=len(self.names))
        return dict(zip(self.names, found.tolist(), strict=True))


def require_classes(classes: Classes | None, count: int, data: str) -> Classes:
    """Return the classes; raise `InputError` unless there is one for each of ``count`` images."""
    if classes is None or len(classes.labels) != count:
        raise InputError(
            f"{data}: has no class for every image; put each class in a folder of its own, or "
            "train without class_conditional"
        )
    return classes


def classes_of_folders(names: Sequence[str]) -> Classes | None:
    """Classes from the folders in image paths with ``/``.

    Returns None if an image is in no folder, or all images are in the same.
    """
    folders = [PurePosixPath(name).parent.name for name in names]
    found = sorted(set(folders))
    if "" in found or len(found) < 2:
        return None
    index = {folder: i for i, folder in enumerate(found)}
    return Classes(np.array([index[folder] for folder in folders]), tuple(found))


def classes_of_json(text: bytes, names: Sequence[str], where: str) -> Classes | None:
    """Classes from the text of a ``dataset.json``; None if its ``labels`` are null or missing.

    Raises
    ------
    InputError
        If the text is damaged, or has no label for one of the ``names``.
    """
    try:
        entries = parse_json(text).get("labels")
        given = None if entries is None else {str(name): int(label) for name, label in entries}
    except (ValueError, TypeError, AttributeError, OverflowError) as error:  # of infinity
        raise InputError(
            f'{where}: is not {{"labels": [[name, number], …]}} ({error}); mend or remove it'
        ) from None
    if given is None:
        return None
    if missing := [name for name in names if name not in given]:
        raise InputError(f"{where}: has no label for {len(missing)} images, such as {missing[0]}")
    return classes_of_numbers(np.array([given[name] for name in names]), where)


def classes_of_numbers(labels: np.ndarray, where: str) -> Classes:
    """Classes from their numbers 0, 1, …, which become their names.

    Raises
    ------
    InputError
        If ``labels`` are not a one-dimensional array of integers from 0 to `MOST_CLASSES`.
    """
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or (labels.size and labels.min() < 0):
        raise InputError(
            f"{where}: labels are {labels.dtype} of shape {labels.shape}; give whole numbers from "
            "0, one an image"
        )
    if labels.size and labels.max() >= MOST_CLASSES:
        raise InputError(
            f"{where}: has a label {labels.max()}, which is no number of a class; number classes "
            "from 0"
        )
    count = int(labels.max()) + 1 if labels.size else 0
    return Classes(labels.astype(np.int64), tuple(str(i) for i in range(count)))


def class_indices(
    labels: ClassLabels, count: int, num_classes: int | None, names: Sequence[str] | None = None
) -> np.ndarray:
    """Index of the class of each image to be sampled.

    Parameters
    ----------
    labels : int, str, or a sequence of them
        Numbers or names of classes; a negative number means no class. Fewer than ``count`` are
        repeated in turn.
    count : int
        Number of images.
    num_classes : int, optional
        Number of classes of the model; None if it has none.
    names : sequence of str, optional
        Names of the classes; by default their numbers.

    Returns
    -------
    indices : (count,) int64 array

    Raises
    ------
    InputError
        If the model has no classes, or not these, or there are more than ``count`` labels.
    """
    if num_classes is None:
        raise InputError("class_labels: this model has no classes")
    listed = [labels] if isinstance(labels, (int, str)) else list(labels)
    known = [str(i) for i in range(num_classes)] if names is None else list(names)
    indices = [
        known.index(str(label)) if label in known else int(label)
        for label in listed
        if label in known or re.fullmatch("-?[0-9]{1,18}", str(label))
    ]
    if not listed or len(indices) < len(listed) or max(indices) >= num_classes:
        raise InputError(
            f"class_labels {listed}: choose from {', '.join(known[:20])}"
            f"{', …' if num_classes > 20 else ''} or their numbers 0 to {num_classes - 1}"
        )
    if len(indices) > count:
        raise InputError(f"class_labels: {len(indices)} for {count} images")
    return np.resize(np.array(indices), count)


def read_class_names(path: Path) -> list[str]:
    """Read a JSON list of class names; raise `InputError` if the file holds anything else."""
    names = read_json(path, "it must hold a list of class names")
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise InputError(f"{path}: is no list of class names")
    return names
