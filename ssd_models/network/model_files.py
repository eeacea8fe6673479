"""Files of a model: in a run, a model directory, or a repository of the Hugging Face hub."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from theory.support.errors import InputError, reason
from theory.support.paths import user_path

from ..data.forms import HUB_PREFIX

NETWORK_FILES = ("config.json", "model.safetensors")
SCHEDULE_FILE = "schedule.json"
SPECTRUM_FILE = "spectrum.npz"
CLASSES_FILE = "classes.json"
SAMPLING_FILE = "sampling.json"
CARD_FILE = "README.md"
CONFIG_FILE = "config.yaml"  # of a run
MODEL_FOLDER = "model"  # of a run
_OF_A_MODEL = [*NETWORK_FILES, SCHEDULE_FILE, SPECTRUM_FILE, CLASSES_FILE, SAMPLING_FILE]


def model_directory(
    model: str | os.PathLike[str],
    needed: Sequence[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
) -> Path:
    """Return the folder with the files of a model; download it first for ``hf:OWNER/NAME``.

    Parameters
    ----------
    model : str or path
        Run of `ssd train`, model directory, or ``hf:OWNER/NAME``. Only the last uses the network.
    needed : sequence of str
        Names of files that must exist.
    revision, token, cache_dir, force_download, local_files_only
        As in `huggingface_hub.snapshot_download`.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If there is no such model, it cannot be downloaded, or a needed file is missing.
    """
    name = str(model)
    if name.startswith(HUB_PREFIX):
        repository = name.removeprefix(HUB_PREFIX)
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.ASCII):
            raise InputError(f"{name}: write hf:OWNER/NAME for a model of the Hugging Face hub")
        from huggingface_hub import snapshot_download

        try:
            path = Path(
                snapshot_download(
                    repository,
                    allow_patterns=_OF_A_MODEL,
                    revision=revision,
                    token=token,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                )
            )
        except Exception as error:  # downloads fail with exceptions of many types
            raise InputError(f"{name}: cannot be downloaded ({reason(error)})") from error
    else:
        path = user_path(model)
        if not (path / NETWORK_FILES[0]).is_file() and (path / MODEL_FOLDER).is_dir():
            path = path / MODEL_FOLDER
        elif (path / CONFIG_FILE).is_file():
            raise InputError(
                f"{path / MODEL_FOLDER}: the run has no model yet; go on with `ssd train --resume`"
            )
        if not path.is_dir():
            raise InputError(
                f"{name}: no such run or model directory; train one with `ssd train`, or write "
                "hf:OWNER/NAME for a model of the Hugging Face hub"
            )
    if missing := [file for file in needed if not (path / file).is_file()]:
        raise InputError(
            f"{name}: is no model directory ({missing[0]} is missing); give a run of `ssd train`, "
            "or its model/"
        )
    return path
