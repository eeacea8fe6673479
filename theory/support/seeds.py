"""Seeds of random numbers."""

from __future__ import annotations

from .errors import InputError

_LIMIT = 2**63  # torch takes 64 bits, and some streams add small numbers to a seed


def check_seed(seed: int, name: str = "seed") -> int:
    """Return ``seed``; raise `InputError` unless it lies between 0 and 2^63 − 1."""
    if not 0 <= seed < _LIMIT:
        shown = str(seed) if abs(seed) < 10**30 else "of more than 30 digits"
        raise InputError(f"{name} {shown}: must be a whole number from 0 to 2^63 - 1")
    return seed
