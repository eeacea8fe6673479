"""Images of a Hugging Face dataset, from the hub or from local files.

A dataset is written ``hf:NAME[:SPLIT[:COLUMN[:LABELS]]]``:

| part | meaning | if left out |
| --- | --- | --- |
| ``NAME`` | a dataset of the hub, a local folder, or a local file | |
| ``SPLIT`` | a split, or several joined as ``train+validation`` | the only one, or ``train`` |
| ``COLUMN`` | the column of images | the only one |
| ``LABELS`` | the column of classes | the only one |

Local folders hold images or parquet files, or were written by ``save_to_disk``; local files are
``.parquet``, ``.arrow``, ``.json`` or ``.jsonl``. Local names need no network.
Pictures are decoded by `decoding`, not by ``datasets``. No code of a dataset is run.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub.constants
import numpy as np

from theory.support.errors import InputError, reason
from theory.support.paths import user_path

from .class_labels import Classes, classes_of_numbers
from .forms import HUB_PREFIX
from .images import EncodedImages
from .unusable import Unusable

if TYPE_CHECKING:
    import datasets

_FILES = (".parquet", ".arrow", ".json", ".jsonl")


class HubImages(EncodedImages):
    """The images of a Hugging Face dataset.

    Parameters
    ----------
    where
        ``hf:NAME[:SPLIT[:COLUMN[:LABELS]]]``.

    Raises
    ------
    InputError
        If ``datasets`` is not installed, the dataset cannot be read, or has no such split or
        column.
    """

    def __init__(self, where: str):
        # The colon of a drive, as in hf:C:\faces:train, is part of the name.
        parts = re.split(r"(?<!^[A-Za-z]):|:(?![\\/])", where.removeprefix(HUB_PREFIX))
        if not parts[0] or len(parts) > 4:
            raise InputError(f"{where}: write hf:NAME[:SPLIT[:COLUMN[:LABELS]]]")
        name, split, column, labels = [*parts, "", "", ""][:4]
        name = str(user_path(name)) if name.startswith("~") else name
        self.where, self.folder = where, Path(name)
        local = self.folder.exists()
        if not self.folder.is_dir():
            self.folder = self.folder.parent
        try:
            import datasets
        except ImportError:
            raise InputError(
                f"{where}: needs Hugging Face's datasets; "
                'pip install "scale-space-diffusion[datasets]"'
            ) from None
        downloads = (datasets.config.HF_CACHE_HOME, huggingface_hub.constants.HF_HUB_CACHE)
        self._roots = [self.folder.resolve()] if local else [Path(root) for root in downloads]
        self._all = _choose_splits(where, _load(where, name), split)
        if not len(self._all):
            raise InputError(f"{where}: holds no images; choose another split")
        features = self._all.features
        self._column = column or _only_image_column(where, features)
        self._labels = labels
        for given in filter(None, (column, labels)):
            if given not in features:
                raise InputError(
                    f"{where}: has no column {given!r}; it has {', '.join(map(str, features))}"
                )
        rows = self._all.select_columns([self._column])
        try:
            self._rows = rows.cast_column(self._column, datasets.Image(decode=False))
        except Exception as error:  # of Arrow, of many kinds
            raise InputError(
                f"{where}: column {self._column!r} holds {features[self._column]}, no images; "
                "name another one"
            ) from error

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> str:
        return f"image {index}" if self._names is None else self._names[index]

    def classes(self) -> Classes | None:
        """Classes from the column of labels; None without one, or if all labels are -1 (hidden)."""
        import datasets

        features = self._all.features
        found = [n for n, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
        if not self._labels and len(found) > 1:
            raise InputError(
                f"{self.where}: has several columns of classes, {', '.join(found)}; name one, as "
                f"in hf:NAME:train:{self._column}:{found[0]}"
            )
        column = self._labels or next(iter(found), None)
        if column is None:
            return None
        where = f"{self.where}, column {column!r}"
        labels = np.asarray(self._all.with_format("numpy", [column])[:][column])
        if labels.dtype.kind in "OUT":
            names, numbers = np.unique(labels.astype(str), return_inverse=True)
            return Classes(numbers.astype(np.int64), tuple(names.tolist()))
        if labels.dtype.kind == "i" and (labels == -1).all():
            return None
        classes = classes_of_numbers(labels, where)
        kind = features[column]
        return Classes(classes.labels, tuple(kind.names)) if column in found else classes

    @contextmanager
    def reading(self) -> Iterator[Callable[[int], bytes]]:
        """Yield a thread-safe function from an index to the content of an image file."""
        yield self._read

    def _read(self, index: int) -> bytes:
        row = self._rows[index][self._column]
        if row is None or (row["bytes"] is None and not row["path"]):
            raise Unusable("no image in this row")
        if row["bytes"] is not None:
            return row["bytes"]
        return self._inside(row["path"]).read_bytes()

    def _inside(self, path: str) -> Path:
        """Path of an image file; `Unusable` if a row names one outside of the dataset's folders."""
        found = Path(os.path.normpath(self._roots[0] / path))  # links may lead elsewhere
        if not any(found.is_relative_to(root) for root in self._roots):
            raise Unusable(f"{path} lies outside of the dataset")
        return found

    @cached_property
    def _names(self) -> list[str] | None:
        """Paths that the dataset stores beside its images; None unless they are all different."""
        import pyarrow.compute

        column = self._rows.with_format("arrow")[:][self._column]
        paths = pyarrow.compute.struct_field(column, "path").to_pylist()
        if not all(paths) or len(set(paths)) < len(paths):
            return None
        root = f"{self.folder.resolve().as_posix()}/"
        return [Path(path).as_posix().removeprefix(root) for path in paths]


def _load(where: str, name: str) -> dict[str, datasets.Dataset]:
    """Load all splits of a dataset, by name."""
    import datasets

    path = Path(name)
    if not path.exists() and not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise InputError(f"{where}: there is no file {name}, and no dataset can be called that")
    if path.is_file() and path.suffix.lower() not in _FILES:
        raise InputError(f"{where}: is no form of dataset; give a folder or {' '.join(_FILES)}")
    try:
        if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
            found = datasets.load_from_disk(str(path))
        elif path.is_file() and (path.parent / "state.json").is_file():  # a part of such a folder
            found = datasets.Dataset.from_file(str(path))
        elif path.exists():
            files = {"data_files": {"train": glob.escape(path.name)}} if path.is_file() else {}
            found = datasets.load_dataset(
                str((path.parent if path.is_file() else path).resolve()),
                download_config=datasets.DownloadConfig(local_files_only=True),
                **files,
            )
        else:
            found = datasets.load_dataset(name)
    except Exception as error:  # of Arrow, of the network, of the hub, of many kinds
        said = reason(error)
        if path.exists():
            remedy = "give a folder of images or parquet files, or what save_to_disk wrote"
            raise InputError(f"{where}: cannot be read ({said}); {remedy}") from error
        raise InputError(
            f"{where}: no such file, and not found on the hub ({said}); check the name and the "
            "network, and run `hf auth login` if the dataset asks for it"
        ) from error
    if isinstance(found, datasets.Dataset):  # save_to_disk of one split
        return {str(found.split or "train"): found}
    return {str(split): dataset for split, dataset in found.items()}


def _choose_splits(where: str, found: dict[str, datasets.Dataset], split: str) -> datasets.Dataset:
    import datasets

    names = (split or (next(iter(found)) if len(found) == 1 else "train")).split("+")
    for name in names:
        if name not in found:
            raise InputError(f"{where}: has no split {name!r}; it has {', '.join(found)}")
    chosen = [found[name] for name in names]
    return chosen[0] if len(chosen) == 1 else datasets.concatenate_datasets(chosen)


def _only_image_column(where: str, features: dict[str, Any]) -> str:
    import datasets

    found = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    if len(found) != 1:
        raise InputError(
            f"{where}: has {len(found) or 'no'} columns of images; name one, as in "
            f"hf:NAME:train:{next(iter(found or features))}; it has {', '.join(features)}"
        )
    return found[0]
