"""From a dataset's spectrum to how much information noisy states hold, and to schedules.

Docstrings cite formulas as "mathematics §n": sections of ``mathematics.md`` in this folder, which
also says under which name each formula is computed.
"""

import lazy_loader

# Names load on first use, as `__init__.pyi` lists them: importing scipy takes half a second.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
