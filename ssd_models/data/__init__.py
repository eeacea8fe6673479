"""Images: the forms that datasets come in, one rule for all of them, and preparing them once."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
