"""Run as ``python -m ssd_models.cli``."""

from . import main

main()
