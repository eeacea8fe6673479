"""Several processes train as one, agree with each other, and end together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from theory import NoiseSchedule, ResolutionSchedule, Spectrum

pytestmark = pytest.mark.slow
BASE = [
    *("--base-channels", "8", "--learning-rate", "1e-3", "--warmup-steps", "4"),
    *("--bf16", "False"),
    *("--change-fraction", "0.5", "--log-every", "1", "--held-out", "0.2"),
]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
LAUNCH = [
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
    *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
]
LAUNCHERS = {"alone": [sys.executable], "torchrun": TORCHRUN, "accelerate": LAUNCH}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(60, 8, 8, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    np.save(folder / "images.npy", images)
    schedule = ResolutionSchedule.from_noise(
        np.repeat([32, 16, 8], [40, 30, 30]), NoiseSchedule.linear(100), levels=(32, 16, 8)
    )
    schedule.save(folder / "schedule.json")
    return folder


def start(data: Path, run: str, *options: str, launcher: str = "torchrun") -> subprocess.Popen:
    command = [*LAUNCHERS[launcher], "-m", "ssd_models.cli", "train", "--data", "images.npy"]
    return subprocess.Popen(
        [*command, "-o", run, *BASE, *options],
        cwd=data,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def finish(process: subprocess.Popen, timeout: float = 240) -> str:
    try:
        return process.communicate(timeout=timeout)[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def entries(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def weights(run: Path, step: int) -> torch.Tensor:
    found = load_file(run / f"checkpoints/step_{step:07d}/weights.safetensors")
    return torch.cat([found[name].flatten() for name in sorted(found)])


@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_two_processes_train_as_one_with_twice_the_batch(data, launcher):
    steps = ["--steps", "40"]
    one = start(data, f"one-{launcher}", *steps, "--batch-size", "8", launcher="alone")
    assert "trained to step 40" in finish(one)
    two = start(data, f"two-{launcher}", *steps, "--batch-size", "4", launcher=launcher)
    output = finish(two)
    assert output.count("trained to step 40") == 1, output
    a, b = entries(data / f"one-{launcher}"), entries(data / f"two-{launcher}")
    assert [list(x["paths"]) for x in a] == [list(x["paths"]) for x in b]
    assert {name for x in a for name in x["paths"]} == {"32", "16", "8", "16->32", "8->16"}
    assert all(sum(path["images"] for path in x["paths"].values()) == 8 for x in a + b)
    for x, y in zip(a, b, strict=True):
        assert x["loss"] == pytest.approx(y["loss"], rel=1e-3)
        assert x["gradient_norm"] == pytest.approx(y["gradient_norm"], rel=1e-2)
    assert a[-1]["validation"] == pytest.approx(b[-1]["validation"], rel=1e-3)
    first, second = weights(data / f"one-{launcher}", 40), weights(data / f"two-{launcher}", 40)
    assert (first - second).norm() < 1e-4 * first.norm()


def wait_for(run: Path, step: int, process: subprocess.Popen, seconds: float = 120) -> None:
    limit = time.monotonic() + seconds
    while not (run / "metrics.jsonl").exists() or entries(run)[-1]["step"] < step:
        assert time.monotonic() < limit, "too slow"
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.2)


def workers(process: subprocess.Popen) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [
        int(child) for child in children if b"RANK=" in Path(f"/proc/{child}/environ").read_bytes()
    ]


def test_a_process_that_dies_takes_the_run_down(data):
    process = start(data, "dying", "--steps", "100000", "--checkpoint-every", "5")
    wait_for(data / "dying", 12, process)
    os.kill(workers(process)[1], signal.SIGKILL)
    began = time.monotonic()
    output = finish(process, 60)
    assert time.monotonic() - began < 45
    assert process.returncode != 0
    said = [line for line in output.splitlines() if "another process of this run has stop" in line]
    assert said, output
    assert "--resume from dying/checkpoints/step_" in said[0]


def test_a_stopped_run_goes_on_with_another_number_of_processes(data):
    process = start(data, "stopped", "--steps", "100000", "--batch-size", "4")
    wait_for(data / "stopped", 3, process)
    process.send_signal(signal.SIGTERM)
    output = finish(process, 60)
    assert "SIGTERM" in output
    (checkpoint,) = (data / "stopped/checkpoints").iterdir()
    step = int(checkpoint.name.split("_")[1])
    state = json.loads((checkpoint / "state.json").read_text())
    assert state["images_seen"] == 8 * step
    last = str(step + 4)
    alone = start(data, "stopped", "--resume", "--steps", last, launcher="alone")
    assert f"trained to step {last}" in finish(alone)
    found = entries(data / "stopped")
    assert [x["step"] for x in found] == list(range(1, step + 5))
    images = [sum(path["images"] for path in x["paths"].values()) for x in found]
    assert images == [8] * (step + 4)  # the one process adds up two batches


def test_a_spectrum_is_measured_in_parts(data):
    command = ["-m", "ssd_models.cli", "spectrum", "many.npy", "--resolution", "8", "-o"]
    rng = np.random.default_rng(1)
    np.save(data / "many.npy", rng.integers(0, 256, (20_000, 8, 8, 3), dtype=np.uint8))
    spectra = {}
    for name in ("alone", "torchrun"):
        said = subprocess.run(
            [*LAUNCHERS[name], *command, f"{name}.npz"], cwd=data, capture_output=True, text=True
        )
        assert said.stdout.count("20000 images of 8 px") == 1, said
        spectra[name] = Spectrum.load(data / f"{name}.npz")
    for array in ("power", "standard_error"):
        alone, shared = (getattr(spectrum, array) for spectrum in spectra.values())
        np.testing.assert_allclose(shared, alone, rtol=1e-12)


def test_bad_input_is_said_and_ends_all_processes(data):
    process = start(data, "one-run", "--steps", "3", "--levels")
    assert "ssd: error" in finish(process, 60)
    process = start(data, "bad", "--steps", "3", "--learning-rate", "nan")
    output = finish(process, 60)
    assert process.returncode != 0
    assert "learning_rate nan: must be positive" in output
