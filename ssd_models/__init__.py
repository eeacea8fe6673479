"""Scale-space diffusion models in torch."""

import lazy_loader

# Names load on first use, as `__init__.pyi` lists them: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
