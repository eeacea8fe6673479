"""A clock that only networks move, so that what benchmarks measure is known exactly."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from ssd_models.network.flexi_unet import FlexiUNet


class NetworkClock:
    """Stands still but in calls of a `FlexiUNet`; remembers their paths."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, seconds: Mapping[tuple[int, int], float]
    ):  # of an image, by path
        self.now = 0.0
        self.paths: list[tuple[int, int]] = []
        forward = FlexiUNet.forward

        def timed(unet, x_t, t, out_resolution=None, class_labels=None):
            output = forward(unet, x_t, t, out_resolution, class_labels)
            if x_t.device.type != "meta":  # where costs are counted
                path = (x_t.shape[-1], output.sample.shape[-1])
                self.paths.append(path)
                self.now += seconds[path] * len(x_t)
            return output

        monkeypatch.setattr(FlexiUNet, "forward", timed)
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
