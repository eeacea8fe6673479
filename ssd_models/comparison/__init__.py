"""Comparing schedules by what networks trained on them do: one configuration, many arms."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
