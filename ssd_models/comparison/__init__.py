"""Experiments that train networks on several schedules (arms) and compare samples and errors."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
