"""Measuring the spectrum of a dataset, by one or several processes, as a whole or in shards."""

from __future__ import annotations

import multiprocessing
import operator
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial, reduce

from theory.spectrum.moments import Moments
from theory.spectrum.spectrum import Spectrum
from theory.spectrum.streaming import block_size, measure
from theory.support.errors import InputError

from ..distributed import gathered, num_processes, process_index
from .opening import open_images, to_float
from .source import ImageSource
from .unusable import NoneUsable, Skipped, refusal

_Part = tuple[Moments | None, list[Skipped]]


def measure_spectrum(
    data: str,
    resolution: int,
    limit: int | None = None,
    seed: int = 0,
    shard: tuple[int, int] | None = None,
    workers: int = 1,
    progress: bool = False,
    skipped: list[Skipped] | None = None,
) -> Spectrum:
    """Measure the spectrum of a dataset by its name.

    Processes of a launcher share the work, and each returns the whole result. Each measures whole
    blocks of images (`theory.spectrum.streaming.block_size`), formed before images are left out, so
    that results agree up to rounding for any number of processes.

    Parameters
    ----------
    data, resolution, limit, seed
        As in `open_images`.
    shard : (i, n), optional
        Measure shard i of n only, see `theory.spectrum.shards`.
    workers : int
        Processes to start, at most one for each block. One process already decodes and transforms
        on all cores.
    progress : bool
        Show a progress bar on standard error; of several processes, that of the first.
    skipped : list, optional
        Leave unusable images out and append them here; the spectrum's ``meta`` counts them.

    Returns
    -------
    spectrum : Spectrum

    Raises
    ------
    InputError
        If the data cannot be used, all images are the same, or there are fewer blocks of images
        than shards.
    """
    if workers < 1:
        raise InputError(f"workers {workers}: give 1 or more")
    i, n = shard or (1, 1)
    opened = partial(open_images, data, resolution, limit=limit, seed=seed)
    source = opened()
    blocks = -(-len(source.shard_positions(i, n)) // block_size(resolution))
    # Part j of k of the shard's own blocks is part i + n (j − 1) of n · k of all blocks.
    launched = min(num_processes(), blocks)
    workers = min(workers, blocks // launched)
    own = [launched * j + process_index() for j in range(workers)]
    parts = [(i + n * j, n * launched * workers) for j in own]
    results: list[_Part] = []
    skip = skipped is not None
    if process_index() < launched and workers == 1:
        results = [_measure_part(source, parts[0], skip, progress)]
    elif process_index() < launched:
        results = _measure_in_workers(opened, parts, skip, progress)
    results = gathered(results)
    found = sorted((image for _, part in results for image in part), key=lambda image: image.index)
    measured = [moments for moments, _ in results if moments is not None]
    if not measured:
        raise NoneUsable(refusal(data, found, len(found), len(found), resolution))
    meta: dict[str, object] = {"source": data, "limit": limit, "seed": seed, "images": len(source)}
    if shard is not None:
        meta["shard"] = f"{i}/{n}"
    if found:
        meta["skipped"] = len(found)
    if skipped is not None:
        skipped += found
    return Spectrum.from_moments(reduce(operator.add, measured), meta)


def _measure_in_workers(
    opened: Callable[[], ImageSource], parts: list[tuple[int, int]], skip: bool, progress: bool
) -> list[_Part]:
    """Measure each part in a new process."""
    with ProcessPoolExecutor(len(parts), multiprocessing.get_context("spawn")) as pool:
        futures = [
            pool.submit(_open_and_measure, opened, part, skip, progress and part is parts[0])
            for part in parts
        ]
        return [future.result() for future in futures]


def _open_and_measure(
    opened: Callable[[], ImageSource], part: tuple[int, int], skip: bool, progress: bool
) -> _Part:
    return _measure_part(opened(), part, skip, progress)


def _measure_part(source: ImageSource, part: tuple[int, int], skip: bool, progress: bool) -> _Part:
    """Moments of a part's images, None if none is usable, and the images that were left out."""
    positions = source.shard_positions(*part)
    skipped: list[Skipped] | None = [] if skip else None
    # A block that lacks images takes none from the next, so that any division has the same blocks.
    batches = source.take(positions).batches(
        block_size(source.resolution), progress=progress, skipped=skipped
    )
    try:
        moments = measure((to_float(batch) for batch in batches), as_blocks=True)
    except NoneUsable:
        moments = None
    return moments, [replace(image, index=positions[image.index]) for image in skipped or []]
