"""`ssd bench all`: all speed benchmarks with small settings, some minutes on two CPU cores."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .growth import measure_growth
from .network import measure_train, measure_unet
from .report import Report, check_output, publish
from .sampling_speed import measure_sampling
from .setting import GrowthSetting, NetworkSetting, SamplingSetting
from .spectrum_speed import measure_spectrum

Parts = Mapping[str, Callable[[], Report]]  # by command

_PAPER: dict[str, Any] = {
    "network": "paper",
    "base_channels": 64,
}  # the paper's network at half width
PARTS: Parts = {
    "train": lambda: measure_train(NetworkSetting(**_PAPER)),
    "unet": lambda: measure_unet(NetworkSetting()),
    "sampling": lambda: measure_sampling(SamplingSetting(**_PAPER, batch=4)),
    "spectrum": lambda: measure_spectrum(64, 4, 5),
    "growth": lambda: measure_growth(GrowthSetting(measure=(32, 64, 128))),
}


def bench_all(folder: str, parts: Parts = PARTS) -> None:
    """Run the benchmarks in turn, print each report and write it to ``folder/PART.json``."""
    outputs = {name: Path(folder) / f"{name}.json" for name in parts}
    for output in outputs.values():
        check_output(output)
    started = time.perf_counter()
    for name, measure in parts.items():
        print(f"== ssd bench {name} ==\n", flush=True)
        publish(measure, outputs[name])
        print(flush=True)
    minutes = (time.perf_counter() - started) / 60
    print(f"{folder}: {', '.join(f'{name}.json' for name in parts)}; {minutes:.1f} minutes")
