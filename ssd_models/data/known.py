"""CelebA, CelebA-HQ and ImageNet in their usual layouts, with their numbers of images checked.

Pictures are cropped and reduced by `decoding` like any others: of the 178 × 218 pixels of CelebA's
aligned faces, the central 178 × 178 are kept. The paper's public code does the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from theory.support.errors import InputError

from .class_labels import Classes
from .images import Images

# WordNet id: the name of a folder, or the beginning of a file name.
_WNID = re.compile(r"(?:^|/)(n\d{8})[/_]")


@dataclass(frozen=True)
class KnownDataset:
    """A dataset whose layout and size are known."""

    title: str
    count: int  # images of a complete copy
    layout: str  # pattern of the names of its images, if a copy holds other images too
    classes: int | None = None  # number of classes, named by WordNet ids; None if it has none

    def choose(
        self, data: str, images: Images, limit: int | None
    ) -> tuple[Sequence[int], Classes | None]:
        """Choose the images that belong to the dataset.

        Parameters
        ----------
        data
            The dataset as the user wrote it, for messages.
        images
            All images of the copy.
        limit
            Number of images that will be used; None for all.

        Returns
        -------
        indices : sequence of int
            Images of the dataset.
        classes : Classes or None
            Classes of all ``images`` that replace their own; None if none do.

        Raises
        ------
        InputError
            If the copy is not complete, or its classes are not those of the dataset, unless
            ``limit`` asks for a part of the images that are there.
        """
        names = [images[i] for i in range(len(images))]
        matching = [i for i, name in enumerate(names) if re.search(self.layout, name)]
        indices: Sequence[int] = matching or range(len(names))
        # A complete copy stays complete when unusable images are left out on preparing it.
        count = len(indices) + images.skipped
        part = limit is not None and limit <= len(indices)
        if count != self.count and not part:
            raise InputError(
                f"{data}: holds {count} images, {self.title} should hold {self.count}; complete "
                "the copy, or use a part of it with --limit (`ssd spectrum`, `ssd prepare`, `ssd "
                "train`)"
            )
        if self.classes is None:
            return indices, None
        classes = _wnid_classes(names, indices)
        found = classes or images.classes()
        number = 0 if found is None else len(found.names)
        if number != self.classes and not part:
            raise InputError(
                f"{data}: has {number} classes, {self.title} should have {self.classes}, each a "
                "folder named n and 8 digits; copy it again"
            )
        return indices, classes


KNOWN = {
    "celeba": KnownDataset("CelebA", 202_599, r"(^|/)img_align_celeba/[^/]+$"),
    "celebahq": KnownDataset("CelebA-HQ", 30_000, r"(^|/)CelebA-HQ-img/[^/]+$"),
    "imagenet": KnownDataset("ImageNet", 1_281_167, r"(^|/)train/n\d{8}/[^/]+$", classes=1000),
}


def _wnid_classes(names: Sequence[str], indices: Sequence[int]) -> Classes | None:
    """Classes of all images by the WordNet ids in their names; None if a chosen one has no id."""
    found = [_WNID.search(names[i]) for i in indices]
    wnids = [match[1] for match in found if match]
    if len(wnids) < len(found):
        return None
    classes, labels = np.unique(wnids, return_inverse=True)
    of_all = np.full(len(names), -1)
    of_all[np.asarray(indices)] = labels
    return Classes(of_all, tuple(classes.tolist()))
