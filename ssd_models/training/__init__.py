"""Training runs: what a step draws, the loop, checkpoints, validation, and what is logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from theory.lazy import lazy_attributes

if TYPE_CHECKING:
    from .config import TrainConfig
    from .trainer import Trainer

__all__ = ["TrainConfig", "Trainer"]

_HOME = {"TrainConfig": "config", "Trainer": "trainer"}

__getattr__ = lazy_attributes(__name__, _HOME)
