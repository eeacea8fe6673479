"""CelebA, CelebA-HQ and ImageNet in their usual layouts, with their numbers of images checked.

Pictures are treated by the general rule of `decoding`: the central square of the short side
(of CelebA's aligned faces the central 178 × 178 of 178 × 218), then an antialiased reduction, which
is what the paper's public code does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from theory.support.errors import InputError

from .class_labels import Classes
from .images import Images

# A folder of that name, or a file name that begins so.
_WNID = re.compile(r"(?:^|/)(n\d{8})[/_]")


@dataclass(frozen=True)
class KnownDataset:
    """A dataset whose layout and size are known."""

    title: str
    count: int  # images of a complete copy
    layout: str  # matches names of its images where other images lie beside them
    classes: int | None = None  # number of classes, named by WordNet ids

    def choose(
        self, data: str, images: Images, limit: int | None
    ) -> tuple[Sequence[int], Classes | None]:
        """Return the indices of the dataset's images, and the classes of all ``images``.

        The classes are None where the images' own ones hold.

        Raises
        ------
        InputError
            If the copy is not complete, or its classes are not those of the dataset, and ``limit``
            does not ask for a part of what there is.
        """
        names = [images[i] for i in range(len(images))]
        matching = [i for i, name in enumerate(names) if re.search(self.layout, name)]
        indices: Sequence[int] = matching or range(len(names))
        # A prepared directory without its unusable images is still of a complete copy.
        count = len(indices) + images.skipped
        part = limit is not None and limit <= len(indices)
        if count != self.count and not part:
            raise InputError(
                f"{data}: holds {count} images, {self.title} should hold {self.count}; complete "
                "the copy, or use a part of it with --limit"
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
    """Classes by the WordNet id in each name; None if one has none."""
    found = [_WNID.search(names[i]) for i in indices]
    wnids = [match[1] for match in found if match]
    if len(wnids) < len(found):
        return None
    classes, labels = np.unique(wnids, return_inverse=True)
    of_all = np.full(len(names), -1)
    of_all[np.asarray(indices)] = labels
    return Classes(of_all, tuple(classes.tolist()))
