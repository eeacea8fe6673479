"""Measuring a dataset's spectrum, in one process or several, whole or in shards."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from theory.errors import InputError
from theory.moments import Moments
from theory.spectrum import Spectrum
from theory.streaming import block_size, measure

from .data import open_images, to_float


def measure_spectrum(
    data: str,
    resolution: int,
    limit: int | None = None,
    seed: int = 0,
    shard: tuple[int, int] | None = None,
    workers: int = 1,
    progress: bool = False,
) -> Spectrum:
    """Measure images by name, as `open_images` takes them.

    Every process takes whole blocks of images, so that the result has the same bits for any number
    of them.

    Parameters
    ----------
    data, resolution, limit, seed
        As in `open_images`.
    shard : (i, n), optional
        Measure part i of n only, see `theory.shards`.
    workers : int
        Processes, at most one a block; a single one already decodes and transforms on all cores.
    progress : bool
        Show a bar on standard error; of several processes the first one's.

    Raises
    ------
    InputError
        If the data cannot be used, or there are fewer blocks of images than parts.
    """
    if workers < 1:
        raise InputError(f"workers {workers}: give 1 or more")
    i, n = shard or (1, 1)
    arguments = (data, resolution, limit, seed)
    source = open_images(data, resolution, limit=limit, seed=seed)
    workers = min(workers, -(-len(source.shard(i, n)) // block_size(resolution)))
    if workers == 1:
        moments = _measure_part(arguments, (i, n), progress)
    else:
        # Part j of the shard's own blocks is part i + n (j − 1) of n · workers of all blocks.
        parts = [(i + n * j, n * workers) for j in range(workers)]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context) as pool:
            shown = [progress, *[False] * (workers - 1)]
            futures = [
                pool.submit(_measure_part, arguments, part, show)
                for part, show in zip(parts, shown, strict=True)
            ]
            moments = futures[0].result()
            for future in futures[1:]:
                moments = moments + future.result()
    meta: dict[str, object] = {"source": data, "limit": limit, "seed": seed, "images": len(source)}
    if shard is not None:
        meta["shard"] = f"{i}/{n}"
    return Spectrum.from_moments(moments, meta)


def _measure_part(
    arguments: tuple[str, int, int | None, int], part: tuple[int, int], progress: bool
) -> Moments:
    data, resolution, limit, seed = arguments
    source = open_images(data, resolution, limit=limit, seed=seed).shard(*part)
    return measure(to_float(batch) for batch in source.batches(progress=progress))
