"""Distances of samples from real images, both reduced to fewer pixels: structure and detail apart.

    python results/distance_by_size.py DATA OUT.json NAME=SAMPLES …

DATA and SAMPLES are images in any form that `ssd train --data` takes, all of one size, of DATA at
least twice as many as samples. Blocks of pixels are averaged. Distances are FD-EffNet, which needs
the extra `features`.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from ssd_models.data import open_images
from ssd_models.metrics.efficientnet import efficientnet_features
from ssd_models.metrics.estimates import jackknife
from ssd_models.metrics.frechet import frechet_distance
from theory import resize_matrix
from theory.support.files import write_json

REDUCTIONS = (4, 2)  # pixels of a side that become one
SEED = 0  # of the choice of real images


def main(data: str, output: str, *samples: str) -> None:
    """Measure every set of samples at every size, print and write."""
    named = dict(s.split("=", 1) for s in samples)
    sets = {name: open_images(path, None).load() for name, path in named.items()}
    sizes = {name: own.shape[1] for name, own in sets.items()}
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{name} has {size} px" for name, size in sizes.items())
        sys.exit(f"distance_by_size: {shown}; give samples of one size")
    count, size = min(map(len, sets.values())), next(iter(sizes.values()))
    images = open_images(data, size).load()
    chosen = images[np.random.default_rng(SEED).permutation(len(images))[: 2 * count]]
    real, others = chosen[::2], chosen[1::2]
    rows = []
    for factor in REDUCTIONS:
        compared = efficientnet_features(reduced(real, factor))
        for name, own in {**sets, "real images": others}.items():
            features = efficientnet_features(reduced(own[:count], factor))
            estimate = jackknife(frechet_distance, features, compared)
            row = {"samples": name, "pixels": size // factor, "fd_effnet": float(estimate.value)}
            rows.append({**row, "standard_error": float(estimate.standard_error)})
            print(json.dumps(rows[-1]), flush=True)
    write_json(output, {"setting": {"images": count, "seed": SEED}, "rows": rows})


def reduced(images: np.ndarray, factor: int) -> np.ndarray:
    """Averages of blocks of ``factor`` by ``factor`` pixels, (N, R, R, C) uint8."""
    side = images.shape[1]
    average = resize_matrix("box", side, side // factor)
    small = np.einsum("ah,nhwc,bw->nabc", average, images, average, optimize=True)
    return small.round().astype(np.uint8)


if __name__ == "__main__":
    main(*sys.argv[1:])
