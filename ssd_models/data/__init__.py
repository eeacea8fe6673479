"""Images: the forms that datasets come in, one rule for all of them, and preparing them once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from theory.lazy import lazy_attributes

if TYPE_CHECKING:
    from .class_labels import Classes
    from .opening import open_images, to_float, to_uint8
    from .preparing import prepare
    from .source import ImageSource

__all__ = ["Classes", "ImageSource", "open_images", "prepare", "to_float", "to_uint8"]

_HOME = {
    "Classes": "class_labels",
    "ImageSource": "source",
    "open_images": "opening",
    "prepare": "preparing",
    "to_float": "opening",
    "to_uint8": "opening",
}

__getattr__ = lazy_attributes(__name__, _HOME)
