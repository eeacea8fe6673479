"""Model directories: a network with its schedule, spectrum, class names and card."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from theory.oracle.steps import last_step
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError, reason
from theory.support.files import atomic_path, write_json
from theory.support.reading import check_fields, read_json

from ..data.class_labels import read_class_names
from ..data.forms import HUB_PREFIX
from ..network.flexi_unet import FlexiUNet
from ..network.model_files import (
    CARD_FILE,
    CLASSES_FILE,
    SAMPLING_FILE,
    SCHEDULE_FILE,
    SPECTRUM_FILE,
)
from .model_card import model_card


class Model(NamedTuple):
    """Contents of a model directory."""

    unet: FlexiUNet
    schedule: ResolutionSchedule
    spectrum: Spectrum | None = None  # of the training data
    class_names: Sequence[str] | None = None
    last_snr: float | None = None  # where chains end; None: at the schedule's last step

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Read a model directory; raise `InputError` if a file is missing or damaged."""
        try:
            unet = FlexiUNet.from_pretrained(folder)
        except InputError:
            raise
        except Exception as error:  # damaged files raise exceptions of many types
            raise InputError(f"{folder}: the model cannot be loaded ({reason(error)})") from error
        spectrum, names = folder / SPECTRUM_FILE, folder / CLASSES_FILE
        schedule, sampling = ResolutionSchedule.load(folder / SCHEDULE_FILE), folder / SAMPLING_FILE
        return cls(
            unet,
            schedule,
            Spectrum.load(spectrum) if spectrum.is_file() else None,
            read_class_names(names) if names.is_file() else None,
            _read_last_snr(sampling, schedule) if sampling.is_file() else None,
        )

    def save(self, folder: Path, repo_id: str) -> None:
        """Write the files; a card, with ``repo_id`` as the model's name, only if there is none."""
        folder.mkdir(parents=True, exist_ok=True)
        unet, schedule, spectrum, names, last_snr = self
        if not (folder / CARD_FILE).exists():
            card = model_card(unet, schedule, spectrum, names, f"{HUB_PREFIX}{repo_id}")
            with atomic_path(folder / CARD_FILE) as temporary:
                temporary.write_text(card, encoding="utf-8")
        unet.save_pretrained(folder)
        schedule.save(folder / SCHEDULE_FILE)
        if spectrum is not None:
            spectrum.save(folder / SPECTRUM_FILE)
        if names is not None:
            write_json(folder / CLASSES_FILE, names)
        write_sampling(folder, last_snr)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the files to ``OWNER/NAME`` on the Hugging Face hub; return the commit's URL.

        Options are ``token``, ``private`` and those of ``huggingface_hub.HfApi.upload_folder``.
        """
        from huggingface_hub import HfApi

        repo_id = repo_id.removeprefix(HUB_PREFIX)
        api = HfApi(token=options.pop("token", None))
        api.create_repo(repo_id, private=options.pop("private", None), exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            self.save(Path(folder), repo_id)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder, **options))


def write_sampling(folder: Path, last_snr: float | None) -> None:
    """Write where the chains of a model end, see `Model`."""
    write_json(folder / SAMPLING_FILE, {} if last_snr is None else {"last_snr": last_snr})


def _read_last_snr(path: Path, schedule: ResolutionSchedule) -> float | None:
    content = read_json(path, "it must hold options of sampling")
    try:
        check_fields(content, {"last_snr": float}, optional=("last_snr",))
        last_step(schedule, content.get("last_snr"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return content.get("last_snr")
