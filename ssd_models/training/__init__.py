"""Training runs: what a step draws, the loop, checkpoints, validation, and what is logged."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
