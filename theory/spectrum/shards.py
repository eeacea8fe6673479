"""Shards: parts of a dataset that are measured apart and then merged.

Shard i of n holds the blocks of images (`theory.spectrum.streaming.block_size`) whose number, from
0, is ``i − 1`` modulo n. As a pass works on the same blocks, all shards together agree with one
pass up to rounding, error bars included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import reduce

from ..support.errors import InputError
from .moments import merged
from .spectrum import Spectrum

_SAME = ("source", "limit", "seed", "images")  # entries of meta that shards of a dataset share


def parse_shard(text: str) -> tuple[int, int]:
    """Numbers (i, n) of a shard written "i/n".

    Raises
    ------
    InputError
        If it is not written so, or i is not from 1 to n.
    """
    match = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"shard {text!r}: write i/n with i from 1 to n, such as 3/16")
    return int(match[1]), int(match[2])


def shard_indices(count: int, block: int, shard: tuple[int, int]) -> list[range]:
    """Ranges of the image numbers that a shard holds.

    Parameters
    ----------
    count : int
        Number of images of the dataset.
    block : int
        Images in a block.
    shard : (i, n)

    Raises
    ------
    InputError
        If the shard is empty: there are fewer blocks than shards.
    """
    i, n = shard
    ranges = [
        range(start, min(start + block, count))
        for start in range((i - 1) * block, count, n * block)
    ]
    if not ranges:
        blocks = -(-count // block)
        raise InputError(
            f"shard {i}/{n}: is empty; {count} images are {blocks} blocks of up to {block}, so "
            f"there can be {blocks} shards at most"
        )
    return ranges


def merge_spectra(spectra: Mapping[str, Spectrum]) -> tuple[Spectrum, list[str]]:
    """Merge shards of one measurement, or whole datasets.

    Parameters
    ----------
    spectra : mapping of str to Spectrum
        By the name that error messages give them, such as their file's.

    Returns
    -------
    spectrum : Spectrum
        Of all images.
    missing : list of str
        Shards that were not given, such as "3/16".

    Raises
    ------
    InputError
        If shards of different measurements, a shard and a whole dataset, or one shard twice are
        given, the shapes differ, or all images are the same.
    """
    if not spectra:
        raise InputError("merge: there is no spectrum to merge")
    named = list(spectra.items())
    shards = {name: spectrum.meta.get("shard") for name, spectrum in named}
    if not any(shards.values()):
        return reduce(lambda a, b: a.merge(b), spectra.values()), []
    first_name, first = named[0]
    have: dict[str, str] = {}
    total = 0
    for name, spectrum in named:
        given = shards[name]
        if not given:
            whole, part = name, next(n for n in shards if shards[n])
            raise InputError(
                f"merge: {part} is a shard, {whole} is not; merge shards by themselves"
            )
        for field in _SAME:
            if spectrum.meta.get(field) != first.meta.get(field):
                raise InputError(
                    f"merge: {name} and {first_name} are not of one measurement: {field} is "
                    f"{spectrum.meta.get(field)!r} and {first.meta.get(field)!r}"
                )
        for shard in str(given).split(" "):
            if shard in have:
                raise InputError(f"merge: {name} and {have[shard]} both hold shard {shard}")
            have[shard] = name
            number = parse_shard(shard)[1]
            if total not in (0, number):
                raise InputError(
                    f"merge: {name} is one of {number} shards, {first_name} of {total}"
                )
            total = number
    missing = [f"{i}/{total}" for i in range(1, total + 1) if f"{i}/{total}" not in have]
    meta = {key: value for key, value in first.meta.items() if key != "shard"}
    if missing:
        meta["shard"] = " ".join(sorted(have, key=parse_shard))
    meta.pop("skipped", None)
    if skipped := sum(spectrum.meta.get("skipped", 0) for spectrum in spectra.values()):
        meta["skipped"] = skipped
    return Spectrum.from_moments(merged([one.moments for one in spectra.values()]), meta), missing
