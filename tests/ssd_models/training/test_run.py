"""The life of a run: stops, guards, checkpoints kept, drift, what is logged."""

import json
import os
import shutil
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from ssd_models.training.batches import slot_noise
from ssd_models.training.checkpoints import Checkpoints
from ssd_models.training.config import TRAIN_PRESETS, TrainConfig
from ssd_models.training.objective import DenoisingLoss
from ssd_models.training.run_log import RunLog, read_metrics
from ssd_models.training.stopping import StopRequest
from ssd_models.training.trainer import Trainer
from theory import InputError, NoiseSchedule, ResolutionSchedule
from theory.support.files import locked

SCHEDULE = ResolutionSchedule.from_noise(
    np.repeat([16, 8], [40, 60]), NoiseSchedule.linear(100), levels=(16, 8)
)
TINY = TrainConfig(
    steps=6,
    batch_size=4,
    base_channels=8,
    learning_rate=1e-3,
    log_every=2,
    checkpoint_every=2,
    validate_every=2,
    held_out=0.2,
    bf16=False,
)
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)


def trainer(run, config=TINY, images=IMAGES, **options):
    return Trainer(images, SCHEDULE, run, config, **options)


def steps_of(run):
    return [path.name for path in sorted((run / "checkpoints").iterdir())]


@pytest.mark.parametrize("options", [{}, {"preconditioning": "linear", "loss_weight": "relative"}])
def test_stopped_three_times_is_the_same_run(tmp_path, options):
    config = replace(TINY, steps=40, constant_pixels=True, checkpoint_every=1000, **options)
    trainer(tmp_path / "whole", config).train(progress=False)
    run = tmp_path / "parts"
    minutes, stops = 1e-9, 0  # one step each
    reason = trainer(run, config).train(progress=False, max_minutes=minutes)
    while reason is not None:
        assert "minutes are over" in reason
        stops += 1
        again = trainer(run, config, resume=True)
        reason = again.train(progress=False, max_minutes=minutes if stops < 3 else None)
    assert stops == 3
    (whole,), (last,) = [steps_of(tmp_path / "whole")[-1:], steps_of(run)[-1:]]
    assert whole == last == "step_0000040"
    for name in ("weights.safetensors", "model/model.safetensors"):
        a = (tmp_path / "whole/checkpoints" / whole / name).read_bytes()
        assert a == (run / "checkpoints" / last / name).read_bytes()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_stops_with_a_checkpoint(name, tmp_path):
    before = signal.getsignal(signal.Signals[name])
    run = tmp_path / "run"

    def send():
        while not (run / "metrics.jsonl").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.Signals[name])

    sender = threading.Thread(target=send)
    sender.start()
    stopped = trainer(run, replace(TINY, steps=100_000, checkpoint_every=100_000))
    assert stopped.train(progress=False) == name
    sender.join()
    assert signal.getsignal(signal.Signals[name]) is before
    assert steps_of(run) == [f"step_{stopped.step:07d}"]
    assert (run / "model/model.safetensors").is_file()
    assert trainer(run, resume=True, config=replace(TINY, steps=100_000)).step == stopped.step


def test_a_second_signal_is_not_held_back():
    with StopRequest() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.reason == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_loss_that_is_not_finite_keeps_the_good_checkpoint(tmp_path):
    spoiled = trainer(tmp_path / "run", replace(TINY, steps=10))
    step = spoiled.learner.step

    def spoil(batches, *arguments):
        if batches[0].step == 4:  # the fifth
            with torch.no_grad():
                next(spoiled.learner.plain.parameters()).fill_(float("nan"))
        return step(batches, *arguments)

    spoiled.learner.step = spoil
    with pytest.raises(InputError, match=r"step 5: the loss on path \S+ is not finite; lower lear"):
        spoiled.train(progress=False)
    assert steps_of(tmp_path / "run") == ["step_0000002", "step_0000004"]
    resumed = trainer(tmp_path / "run", resume=True)
    assert resumed.step == 4
    assert all(torch.isfinite(p).all() for p in resumed.learner.plain.parameters())


def test_a_run_directory_that_vanishes_is_said(tmp_path):
    run = tmp_path / "run"
    lost = trainer(run, replace(TINY, steps=10))
    step = lost.learner.step

    def lose(batches, *arguments):
        if batches[0].step == 2:
            shutil.rmtree(run)
        return step(batches, *arguments)

    lost.learner.step = lose
    with pytest.raises(InputError, match=r"metrics\.jsonl: cannot be written"):
        lost.train(progress=False)
    assert not run.exists()


def test_one_process_trains_in_a_run_directory(tmp_path):
    run = tmp_path / "run"
    trainer(run).train(progress=False)
    before = (run / "config.yaml").read_bytes()
    with locked(run), pytest.raises(InputError, match="another process writes there"):
        trainer(run, replace(TINY, steps=8), resume=True).train(progress=False)
    assert (run / "config.yaml").read_bytes() == before
    late = trainer(run, replace(TINY, steps=10), resume=True)
    trainer(run, replace(TINY, steps=8), resume=True).train(progress=False)
    after = (run / "config.yaml").read_bytes()
    assert after != before
    with pytest.raises(InputError, match="trained on by another process meanwhile; resume again"):
        late.train(progress=False)
    assert (run / "config.yaml").read_bytes() == after


def test_a_run_that_diverges_is_stopped(tmp_path):
    config = replace(TINY, steps=400, learning_rate=30.0, warmup_steps=0, gradient_clip=1e9)
    with pytest.raises(InputError, match=r"diverged \(since step .* times that of predicting zero"):
        trainer(tmp_path / "run", config).train(progress=False)


def test_the_last_and_the_best_checkpoints_stay(tmp_path):
    kept = Checkpoints(tmp_path, keep=2)
    losses = [3.0, 1.0, None, 2.0, 1.5, 4.0]
    for i, loss in enumerate(losses):
        state = {
            "step": i,
            "images_seen": i,
            "processes": 1,
            "validation": loss,
            "identity": {"images_per_step": 1},
        }
        kept.write(i, lambda folder: (folder / "weights").write_text("x"), state)
    assert steps_of(tmp_path) == ["step_0000001", "step_0000004", "step_0000005"]
    assert kept.best.name == "step_0000001"
    assert kept.last.name == "step_0000005"

    def fail(folder):
        (folder / "half").write_text("x")
        raise RuntimeError("PytorchStreamWriter failed:\nno space")

    with pytest.raises(InputError, match="step_0000006: the checkpoint cannot be written"):
        kept.write(6, fail, state)
    assert steps_of(tmp_path) == ["step_0000001", "step_0000004", "step_0000005"]


def test_checkpoints_are_in_the_order_of_their_steps(tmp_path):
    """From ten million on names have more digits."""
    kept = Checkpoints(tmp_path, keep=2)
    for step in (9_995_000, 10_000_000, 10_005_000):
        state = {"step": step, "images_seen": 0, "processes": 1, "validation": None, "identity": {}}
        kept.write(step, lambda folder: (folder / "weights").write_text("x"), state)
    assert [path.name for path in kept] == ["step_10000000", "step_10005000"]
    assert kept.last.name == "step_10005000"
    (tmp_path / "checkpoints" / "step_20000000_backup").mkdir()  # a user's copy is none of them
    assert kept.last.name == "step_10005000"


def test_weight_decay_can_change_with_drift(tmp_path):
    run = tmp_path / "run"
    trainer(run).train(progress=False)
    drifted = trainer(run, replace(TINY, weight_decay=0.5), resume=True, allow_drift=True)
    assert [group["weight_decay"] for group in drifted.learner.optimizer.param_groups] == [0.5]


def test_a_checkpoint_older_than_an_option_resumes(tmp_path):
    run = tmp_path / "run"
    trainer(run).train(progress=False)
    path = run / "checkpoints/step_0000006/state.json"
    state = json.loads(path.read_text())
    for name in ("loss_weight", "preconditioning"):
        del state["identity"][name]
    path.write_text(json.dumps(state))
    assert trainer(run, resume=True).step == 6
    with pytest.raises(InputError, match="preconditioning: none -> linear"):
        trainer(run, replace(TINY, preconditioning="linear"), resume=True)


def test_drift_is_refused_by_name(tmp_path):
    run = tmp_path / "run"
    trainer(run).train(progress=False)
    for config, said in (
        (replace(TINY, learning_rate=1e-4), "learning_rate: 0.001 -> 0.0001"),
        (replace(TINY, batch_size=8), "images_per_step: 4 -> 8"),
        (replace(TINY, seed=1, snr_clip=2.0), "seed: 0 -> 1; snr_clip: 5.0 -> 2.0"),
    ):
        with pytest.raises(InputError, match=said):
            trainer(run, config, resume=True)
        assert trainer(run, config, resume=True, allow_drift=True).step == 6
    with pytest.raises(InputError, match=r"data: 60 images.* -> 59 images"):
        trainer(run, images=IMAGES[1:], resume=True)
    other = ResolutionSchedule.from_noise(
        np.repeat([16, 8], [50, 50]), NoiseSchedule.linear(100), levels=(16, 8)
    )
    with pytest.raises(InputError, match="schedule: "):
        Trainer(IMAGES, other, run, TINY, resume=True)
    for config in (
        replace(TINY, steps=9, log_every=1, checkpoint_every=3, validate_every=0, keep=1),
        replace(TINY, batch_size=2, accumulate=2),  # as many images a step
    ):
        assert trainer(run, config, resume=True).step == 6
    cosine = replace(TINY, cosine_decay=True)
    trainer(tmp_path / "cosine", cosine).train(progress=False)
    with pytest.raises(InputError, match="steps: 6 -> 9"):  # as the learning rate hangs on them
        trainer(tmp_path / "cosine", replace(cosine, steps=9), resume=True)


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "images", "processes", "found"),
    [(4, 1, 8, 1, (4, 2)), (4, 2, 8, 2, (4, 1)), (4, 1, 8, 4, (2, 1)), (4, 1, 8, 3, (4, 1))],
)
def test_a_step_keeps_its_images_on_other_processes(
    batch_size, accumulate, images, processes, found
):
    config = replace(TINY, batch_size=batch_size, accumulate=accumulate)
    divided = config.divided(images, processes)
    assert (divided.batch_size, divided.accumulate) == found
    assert (divided.images_per_step(processes) == images) == (processes != 3)


def test_the_learning_rate_warms_up_and_decays(tmp_path):
    config = replace(TINY, steps=9, warmup_steps=4, cosine_decay=True, log_every=1)
    trainer(tmp_path / "run", config).train(progress=False)
    rates = [x["learning_rate"] for x in read_metrics(tmp_path / "run/metrics.jsonl")]
    steps = np.arange(9)
    expected = 1e-3 * np.minimum((steps + 1) / 4, 1) * (1 + np.cos(np.pi * steps / 9)) / 2
    assert rates == pytest.approx(expected.tolist())


def test_what_is_logged(tmp_path):
    config = replace(TINY, steps=40, log_every=20, change_fraction=0.5, reweight_paths=True)
    run = tmp_path / "run"
    done = trainer(run, config)
    done.train(progress=False)
    entries = read_metrics(run / "metrics.jsonl")
    entry = next(x for x in entries if x["step"] == 40)
    assert entry["images_per_second"] > 0
    assert entry["gradient_norm"] > 0
    weights = {path.name: done.paths.weight(path) for path in done.paths.paths}
    for found in entries:
        for name, path in found["paths"].items():
            assert path["path_weight"] == pytest.approx(weights[name])
            assert 0 < path["snr_weight"] <= 5
            assert path["loss"] <= 5 * path["error"] * 1.001
    assert sum(p["images"] for x in entries for p in x["paths"].values()) == 160
    assert set(entry["validation"]) == {"mean", "16", "8", "8->16"}
    half = run / "metrics.jsonl"
    half.write_text(half.read_text() + '{"step": 41, "lo')
    RunLog(run, 30).close()
    assert [x["step"] for x in read_metrics(half)] == [x["step"] for x in entries if x["step"] < 31]


def test_validation_is_the_loss_of_held_out_images(tmp_path):
    done = trainer(tmp_path / "run")
    done.train(progress=False)
    found = read_metrics(tmp_path / "run/metrics.jsonl")[-1]["validation"]
    held = done.validation.indices
    trained = done.batches.chosen
    assert len(held) > 3
    assert not set(held) & set(trained)
    assert len(held) + len(trained) == 60
    device = torch.device("cpu")
    weights = np.minimum(done.schedule.base_snr, TINY.snr_clip)
    loss_of = DenoisingLoss(done.process, weights)
    x0 = torch.from_numpy(IMAGES[held]).permute(0, 3, 1, 2) / 127.5 - 1
    means = {}
    for i, path in enumerate(done.paths.paths):
        t = path.steps[((np.arange(len(held)) + 0.5) / len(held) * len(path.steps)).astype(int)]
        noise = slot_noise(0, i, 0, len(held), (3, path.r_in, path.r_in), device)
        with torch.no_grad():
            unet = done.pipeline().unet
            loss = loss_of(unet, x0, torch.from_numpy(t), noise).loss
        means[path.name] = loss.item()
        assert found[path.name] == pytest.approx(loss.item(), rel=1e-4)
    shares = {path.name: path.share for path in done.paths.paths}
    assert sum(shares.values()) == pytest.approx(1)
    assert found["mean"] == pytest.approx(sum(shares[n] * means[n] for n in means), rel=1e-4)
    state = json.loads((tmp_path / "run/checkpoints/step_0000006/state.json").read_text())
    assert state["validation"] == pytest.approx(found["mean"])


def test_samples_are_drawn_from_the_same_noise(tmp_path):
    run = tmp_path / "run"
    trainer(run, replace(TINY, sample_every=2, learning_rate=1e-9)).train(progress=False)
    grids = sorted((run / "samples").iterdir())
    assert [grid.name for grid in grids] == [f"step_{i:07d}.png" for i in (2, 4, 6)]
    assert len({grid.read_bytes() for grid in grids}) == 1  # the weights hardly moved


def test_memory_is_flat(tmp_path):
    import resource

    # Peak resident memory cannot fall, so it must not rise between a warm run's halves.
    config = replace(TINY, steps=300, checkpoint_every=1000, validate_every=0, log_every=10)
    running = trainer(tmp_path / "run", config)
    peaks = []
    step = running.learner.step

    def measure(batches, *arguments):
        if batches[0].step in (100, 299):
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return step(batches, *arguments)

    running.learner.step = measure
    running.train(progress=False)
    assert peaks[1] - peaks[0] < 8 * 1024  # KiB


@pytest.mark.parametrize("name", TRAIN_PRESETS)
def test_presets_are_configurations(name):
    config = TrainConfig(**TRAIN_PRESETS[name])
    config.check()
    assert config.network == "paper"
    assert (config.batch_size, config.learning_rate, config.ema_decay) == (32, 1e-4, 0.9999)
