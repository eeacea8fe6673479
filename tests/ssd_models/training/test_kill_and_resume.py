"""Runs killed at random moments and resumed end on the same bits as one that was left alone.

``python tests/ssd_models/training/test_kill_and_resume.py --runs 25`` kills that many; the test a
few.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from theory import NoiseSchedule, ResolutionSchedule

STEPS = 40
OPTIONS = [
    *("--steps", str(STEPS), "--batch-size", "3", "--base-channels", "8"),
    *("--checkpoint-every", "1", "--log-every", "1", "--validate-every", "8"),
    *("--held-out", "0.2", "--change-fraction", "0.3", "--constant-pixels"),
]


def prepare(folder: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(40, 4, 4, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    np.save(folder / "images.npy", images)
    schedule = ResolutionSchedule.from_noise(
        np.repeat([16, 8], [40, 60]), NoiseSchedule.linear(100), levels=(16, 8)
    )
    schedule.save(folder / "schedule.json")


def start(folder: Path, run: str, resume: bool) -> subprocess.Popen:
    command = [sys.executable, "-m", "ssd_models.cli", "train", "--data", "images.npy", "-o", run]
    command += ["--resume"] if resume else ["--schedule", "schedule.json"]
    return subprocess.Popen(
        [*command, *OPTIONS],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen) -> None:
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error


def parts(checkpoint: Path) -> dict:
    """Everything a checkpoint holds; fails if it is not whole."""
    optimizer = torch.load(checkpoint / "optimizer.pt", weights_only=True)
    found = {
        "state": json.loads((checkpoint / "state.json").read_text()),
        "groups": optimizer["param_groups"],
    }
    for file in ("weights.safetensors", "model/model.safetensors"):
        found |= {f"{file} {name}": tensor for name, tensor in load_file(checkpoint / file).items()}
    for index, moments in optimizer["state"].items():
        found |= {f"optimizer {index} {name}": tensor for name, tensor in moments.items()}
    return found


def differences(a: dict, b: dict) -> list[str]:
    assert a.keys() == b.keys()
    return [
        name
        for name in a
        if not (torch.equal(a[name], b[name]) if torch.is_tensor(a[name]) else a[name] == b[name])
    ]


def metrics(run: Path) -> list[dict]:
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for entry in entries:
        del entry["images_per_second"]
    return entries


def kill_and_resume(folder: Path, runs: int, seed: int = 0) -> Counter:
    """Kill and resume runs; returns at which moments they were killed."""
    prepare(folder)
    began = time.monotonic()
    reference = start(folder, "whole", resume=False)
    while not (folder / "whole").exists():
        time.sleep(0.02)
    starting = time.monotonic() - began
    finish(reference)
    training = time.monotonic() - began - starting
    last = f"checkpoints/step_{STEPS:07d}"
    expected = parts(folder / "whole" / last)
    rng, moments = random.Random(seed), Counter()
    for i in range(runs):
        run = folder / f"run{i}"
        process = start(folder, run.name, resume=False)
        if i % 8 == 7:  # some before there is anything
            time.sleep(rng.uniform(0, starting))
        else:
            while not run.exists() and process.poll() is None:
                time.sleep(0.005)
            time.sleep(rng.uniform(0, training))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == 0:
            moments["after the end"] += 1
        elif not run.exists():
            moments["before the start"] += 1
        elif list((run / "checkpoints").glob(".step_*.partial")):
            moments["while saving"] += 1
        elif list((run / "checkpoints").glob(".step_*")) or (run / ".model.partial").exists():
            moments["while moving folders"] += 1
        else:
            moments["between saves"] += 1
        for checkpoint in (run / "checkpoints").glob("step_*"):
            parts(checkpoint)
        finish(start(folder, run.name, resume=run.exists()))
        assert not differences(parts(run / last), expected), f"{run}: {differences}"
        assert metrics(run) == metrics(folder / "whole")
        assert not list((run / "checkpoints").glob(".*"))
    return moments


@pytest.mark.slow
def test_killed_runs_end_on_the_same_bits(tmp_path):
    moments = kill_and_resume(tmp_path, runs=3)
    assert sum(moments.values()) == 3


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        killed = kill_and_resume(Path(place), arguments.runs, arguments.seed)
    print(f"{arguments.runs} runs, all resumed to the same bits; killed", dict(killed))
