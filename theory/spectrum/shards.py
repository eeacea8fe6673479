"""Spectra of parts of a dataset, measured apart: which part is whose, and putting them together.

Shard i of n holds the blocks of images (`theory.spectrum.streaming.block_size`) whose number, from
0, is ``i − 1`` modulo n. Shards are whole blocks, so all of them together have the bits of one
pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

from ..support.errors import InputError
from .spectrum import Spectrum

_SAME = ("source", "limit", "seed", "images")  # what shards of one measurement agree in


def parse_shard(text: str) -> tuple[int, int]:
    """Return (i, n) of "i/n", 1 ≤ i ≤ n."""
    match = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"shard {text!r}: write i/n with i from 1 to n, such as 3/16")
    return int(match[1]), int(match[2])


def shard_indices(count: int, block: int, shard: tuple[int, int]) -> list[range]:
    """Ranges of image numbers that a shard holds, of ``count`` images in blocks of ``block``.

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
    """Merge spectra by name: shards of one measurement, or whole datasets.

    Returns
    -------
    spectrum : Spectrum
        Of all; where all shards are there, as measured in one pass.
    missing : list of str
        Shards that are not there, such as "3/16".

    Raises
    ------
    InputError
        If shards of different measurements, a shard and a whole dataset, or one shard twice are
        given, or spectra do not fit.
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
    merged = reduce(lambda a, b: a.merge(b), spectra.values())
    if "skipped" in merged.meta:
        meta["skipped"] = merged.meta["skipped"]
    return replace(merged, meta=meta), missing
