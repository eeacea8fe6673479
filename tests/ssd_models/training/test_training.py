"""Training: what a batch draws, what the loss is, exact resume, and that it learns."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ssd_models.comparison.costs import arm_costs
from ssd_models.data.class_labels import Classes
from ssd_models.devices import use_bf16
from ssd_models.diffusion.process import ScaleSpaceProcess
from ssd_models.sampling.pipeline import ScaleSpacePipeline
from ssd_models.training.config import TrainConfig, read_config, write_config
from ssd_models.training.densities import step_density
from ssd_models.training.objective import DenoisingLoss, PathSampler
from ssd_models.training.outlook import cost_line
from ssd_models.training.trainer import Trainer
from theory import InputError, NoiseSchedule, ResolutionSchedule, Spectrum
from theory.information.bounds import schedule_information
from theory.schedule.costs import chain_costs

NOISE = NoiseSchedule.linear(100)
SCHEDULE = ResolutionSchedule.from_noise(
    np.repeat([16, 8], [40, 60]), NOISE, levels=(16, 8), derivation={"source": "x"}
)
TINY = TrainConfig(
    steps=8,
    batch_size=4,
    base_channels=8,
    learning_rate=1e-3,
    log_every=2,
    checkpoint_every=4,
    warmup_steps=2,
    bf16=False,
)


def images(n=32):
    rng = np.random.default_rng(0)
    colours = rng.integers(40, 216, size=(n, 1, 1, 3))
    return np.broadcast_to(colours, (n, 16, 16, 3)).astype(np.uint8)


def test_a_run_says_early_how_long_it_will_take(tmp_path, capsys):
    config = replace(TINY, steps=24, checkpoint_every=22, sample_every=0)
    Trainer(images(), SCHEDULE, tmp_path / "run", config).train(progress=True)
    said = capsys.readouterr().err
    assert re.search(
        r"^about \d+ min for 4 more steps; the next samples at step 24, in 1 min, "
        r"the next checkpoint at 22$",
        said,
        re.MULTILINE,
    )


def test_a_run_says_what_it_will_cost(tmp_path):
    noise = NoiseSchedule.linear(100)
    full = ResolutionSchedule.full_resolution(16, noise)
    config = replace(TINY, steps=1000, accumulate=3, constant_pixels=True)
    for schedule in (SCHEDULE, full):
        run = Trainer(images(), schedule, tmp_path / "run", config)
        line = cost_line(run.learner.plain, run.batches)
        seen = sum(p.probability * run.batches.size(p) for p in run.paths.paths)
        flop, whole = (
            arm_costs(each, config, run.spectrum, {})["training_flops_per_image"]
            for each in (schedule, full)
        )
        share = re.escape(f"{flop / whole:.2f}")
        assert re.match(rf"1,000 steps cost (\S+) FLOP in all, {share} of what", line)
        assert float(line.split()[3]) == pytest.approx(1000 * seen * flop, rel=0.06)
    assert "1.00 of" in line


def test_paths_share_a_resolution_and_cover_all_steps():
    sampler = PathSampler(SCHEDULE, 0.2)
    rng = np.random.default_rng(0)
    counts = np.zeros(100)
    changes = 0
    for _ in range(4000):
        t = rng.choice(sampler.choose(rng).steps, 8)
        pairs = {(SCHEDULE.resolutions[i], SCHEDULE.output_resolutions[i]) for i in t}
        assert len(pairs) == 1
        if 40 in t:
            assert (t == 40).all()
            changes += 1
        else:
            np.add.at(counts, t, 1)
    assert changes / 4000 == pytest.approx(0.2, abs=0.03)
    kept = np.delete(counts, 40) / counts.sum()
    assert kept[:40].sum() == pytest.approx(40 / 99, abs=0.03)
    assert kept.min() > 0.5 / 99
    # Weighed back, every path counts as in a uniform choice of steps.
    for path in sampler.paths:
        assert path.probability * sampler.weight(path) == pytest.approx(len(path.steps) / 100)
    assert sum(path.probability for path in sampler.paths) == pytest.approx(1)


def test_shares_of_levels_can_follow_their_pixels():
    sampler = PathSampler(SCHEDULE, 0.2, density="pixels")
    paths = {path.name: path for path in sampler.paths}
    steps = {"16": 40, "8": 59}  # and the change between them
    pixels = {"16": 256, "8": 64}
    total = sum(steps[name] * pixels[name] for name in steps)
    for name in steps:
        expected = 0.8 * steps[name] * pixels[name] / total
        assert paths[name].probability == pytest.approx(expected)
        assert paths[name].probability * sampler.weight(paths[name]) == pytest.approx(
            steps[name] / 100
        )
    assert paths["8->16"].probability == pytest.approx(0.2)
    with pytest.raises(InputError, match="density 'area': choose from steps, pixels"):
        TrainConfig(density="area").check()


def test_steps_are_drawn_by_the_bits_they_add_and_what_they_cost():
    spectrum = Spectrum.power_law(16, 2.2)
    full = ResolutionSchedule.full_resolution(16, NOISE)
    chances = step_density(full, "information", lambda: spectrum)
    bits = schedule_information(full, spectrum)
    added = -np.diff(bits)
    between = np.sqrt(chances[1:] * chances[:-1])[1:-1]  # the density is of the middle of two steps
    ratio = between / np.sqrt(added[1:-1])
    assert ratio.std() < 0.02 * ratio.mean()
    # A cheaper call is drawn more often: at 8 px a call costs less, for bits of the same band.
    _, table = chain_costs((16, 8))
    lower = step_density(SCHEDULE, "information", lambda: spectrum)
    low, high = 70, 20
    kept = schedule_information(SCHEDULE, spectrum)
    expected = np.gradient(kept)[[low, high]] / [table[8, 8], table[16, 16]]
    assert lower[low] / lower[high] == pytest.approx(np.sqrt(expected[0] / expected[1]))
    with pytest.raises(InputError, match="density 'information': needs at least two"):
        PathSampler(SCHEDULE, 0.2, density="information")


def test_loss_is_the_weighted_error_of_the_prediction():
    schedule = ResolutionSchedule.from_noise(SCHEDULE.resolutions, NOISE, operator="box")
    loss_of = DenoisingLoss(ScaleSpaceProcess(schedule), np.minimum(NOISE.snr, 5.0))
    x0 = torch.rand(3, 3, 16, 16) * 2 - 1

    class Zero(torch.nn.Module):
        def forward(self, x_t, t, out_resolution, class_labels):
            class Output:
                sample = torch.zeros(len(x_t), 3, out_resolution, out_resolution)

            return Output

    for t, r_in, r_out in (([5, 9, 20], 16, 16), ([40] * 3, 8, 16), ([99, 60, 41], 8, 8)):
        noise = torch.randn(3, 3, r_in, r_in)
        terms = loss_of(Zero(), x0, torch.tensor(t), noise)
        blocks = x0.reshape(3, 3, r_out, 16 // r_out, r_out, 16 // r_out).mean(dim=(3, 5))
        weight = torch.from_numpy(np.minimum(NOISE.snr[t], 5.0))
        expected = (weight * blocks.square().mean(dim=(1, 2, 3))).mean()
        assert terms.loss.item() == pytest.approx(expected.item(), rel=1e-5)
        assert terms.error.item() == pytest.approx(blocks.square().mean().item(), rel=1e-5)
        assert terms.target_power.item() == pytest.approx(terms.error.item(), rel=1e-6)
        assert terms.snr_weight.item() == pytest.approx(weight.mean().item(), rel=1e-6)


class NoWaiting(TorchDispatchMode):
    """Fails where Python would have to wait for a number that the device computes."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function is not torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_a_step_waits_for_nothing_on_the_device(tmp_path):
    config = TrainConfig(**{**TINY.__dict__, "class_conditional": True, "compile": False})
    trainer = Trainer(coloured(CLASSES.labels), SCHEDULE, tmp_path / "run", config, classes=CLASSES)
    for step in range(4):
        batches = trainer.batches.draw(step, 4 * step)
        if trainer.device.type == "cuda" and step > 1:  # tables and optimizer have been made
            torch.cuda.set_sync_debug_mode("error")
        try:
            with NoWaiting():
                trainer.learner.step(batches, trainer.batches, 1.0)
        finally:
            if trainer.device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")


def test_one_image_over_and_over_has_no_spectrum(tmp_path):
    same = np.full((8, 16, 16, 3), 90, np.uint8)
    assert Trainer(same, SCHEDULE, tmp_path / "run", TINY).spectrum is None


def test_the_spectrum_is_that_of_a_spread_of_the_images(tmp_path, monkeypatch):
    """Of sorted images too, of which less than twice as many are there as are measured."""
    amplitude = np.linspace(0, 127, 60)[:, None, None, None]
    signs = np.random.default_rng(0).choice([-1, 1], (60, 16, 16, 3))
    sorted_images = (128 + amplitude * signs).astype(np.uint8)
    whole = Trainer(sorted_images, SCHEDULE, tmp_path / "all", TINY).spectrum
    monkeypatch.setattr("ssd_models.training.trainer._MEASURED", 36)
    part = Trainer(sorted_images, SCHEDULE, tmp_path / "part", TINY).spectrum
    assert part.count == 36 < whole.count
    assert part.power.sum() == pytest.approx(whole.power.sum(), rel=0.1)


def test_the_average_follows_the_weights(tmp_path):
    trainer = Trainer(images(), SCHEDULE, tmp_path / "run", TINY)
    learner, expected = trainer.learner, None
    for step in range(5):
        learner.step(trainer.batches.draw(step, 4 * step), trainer.batches, 1.0)
        weights = [parameter.detach().clone() for parameter in learner.plain.parameters()]
        if expected is None:
            expected = weights  # it begins with the first step's
        decay = (2 + step) / (11 + step)
        expected = [decay * a + (1 - decay) * b for a, b in zip(expected, weights, strict=True)]
    for found, value in zip(learner.averaged.parameters(), expected, strict=True):
        torch.testing.assert_close(found, value)
        assert not found.requires_grad


@pytest.mark.parametrize(("generation", "computes"), [(7, False), (9, True)])
def test_bfloat16_is_for_gpus_that_compute_in_it(generation, computes, monkeypatch):
    """A V100 (7) takes bfloat16 tensors, but emulates their products."""
    device = SimpleNamespace(major=generation)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: device)
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda _: True)
    assert use_bf16("cuda") is computes


def state(run, name="weights"):
    from safetensors.torch import load_file

    return load_file(sorted((run / "checkpoints").iterdir())[-1] / f"{name}.safetensors")


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    Trainer(images(), SCHEDULE, tmp_path / "a", TINY).train(progress=False)
    half = TrainConfig(**{**TINY.__dict__, "steps": 4})
    Trainer(images(), SCHEDULE, tmp_path / "b", half).train(progress=False)
    Trainer(images(), SCHEDULE, tmp_path / "b", TINY, resume=True).train(progress=False)
    for name in ("weights", "model/model"):
        a, b = state(tmp_path / "a", name), state(tmp_path / "b", name)
        assert all(torch.equal(a[key], b[key]) for key in a), name
    lines = [json.loads(x) for x in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 8]


def test_a_run_directory_holds_what_is_promised(tmp_path):
    run = tmp_path / "run"
    Trainer(images(), SCHEDULE, run, TINY, data="x").train(progress=False)
    names = {p.name for p in run.iterdir()}
    assert names >= {"config.yaml", "schedule.json", "metrics.jsonl", "checkpoints", "model"}
    assert [p.name for p in sorted((run / "checkpoints").iterdir())] == [
        "step_0000004",
        "step_0000008",
    ]
    assert list((run / "samples").glob("*.png"))
    pipeline = ScaleSpacePipeline.from_pretrained(run / "model")
    assert pipeline.scheduler.schedule.changes == SCHEDULE.changes
    for key, value in pipeline.unet.state_dict().items():
        torch.testing.assert_close(value, state(run, "model/model")[key])
    with pytest.raises(InputError, match="not empty"):
        Trainer(images(), SCHEDULE, run, TINY)


def test_resume_needs_a_checkpoint_that_loads(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        Trainer(images(), SCHEDULE, tmp_path / "none", TINY, resume=True)
    broken = tmp_path / "run/checkpoints/step_0000004"
    broken.mkdir(parents=True)
    (broken / "state.json").write_text('{"step": 4}')
    (tmp_path / "run/config.yaml").write_text("")
    with pytest.raises(InputError, match="cannot be resumed"):
        Trainer(images(), SCHEDULE, tmp_path / "run", TINY, resume=True)


@pytest.mark.slow
def test_it_learns_flat_colours(tmp_path):
    config = TrainConfig(
        **{
            **TINY.__dict__,
            "steps": 300,
            "base_channels": 16,
            "batch_size": 16,
            "learning_rate": 2e-3,
            "ema_decay": 0.98,
            "checkpoint_every": 300,
            "reweight_paths": False,  # so short a training has to learn the one change too
        }
    )
    trainer = Trainer(images(256), SCHEDULE, tmp_path / "run", config)
    trainer.train(progress=False)
    samples = trainer.pipeline()(
        32, 12, generator=torch.Generator().manual_seed(0), output_type="pt"
    ).images
    within = samples.std(dim=(2, 3)).mean()  # data: 0
    between = samples.mean(dim=(2, 3)).std(dim=0).mean()
    expected = (images(256)[:, 0, 0].astype(float) / 127.5).std(axis=0).mean()
    assert within < 0.12
    assert between == pytest.approx(expected, rel=0.4)


def test_configurations_round_trip_and_are_checked(tmp_path):
    path = tmp_path / "config.yaml"
    write_config(path, TINY, "photos")
    content = read_config(path)
    assert content.pop("data") == "photos"
    assert TrainConfig(**content) == TINY
    for text, said in (
        ("stepz: 3", "unknown option 'stepz'"),
        ("steps: many", "steps cannot be 'many'"),
        ("steps: true", "steps cannot be True"),
        ("- 1", "must hold"),
        ("a: [", "is not YAML"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            read_config(path)
    for text in ("1e-4", "+1E-4", ".1e-3", "1.e-4", "0.0001"):
        path.write_text(f"learning_rate: {text}")
        assert read_config(path) == {"learning_rate": 1e-4}
    for text in ("e4", "1e", "1e-4x", "'1e-4'"):
        path.write_text(f"network: {text}")
        assert isinstance(read_config(path)["network"], str)
    with pytest.raises(InputError, match="steps 0"):
        TrainConfig(steps=0).check()


@pytest.mark.slow
def test_bfloat16_and_float32_give_the_same_loss_curve(tmp_path):
    """Within 15 % of each other in every 20 steps and within 3 % over all 200.

    Float32 runs whose weights start 2^-9 apart, bfloat16's rounding, differ by as much.
    """
    curves = {}
    for bf16 in (False, True):
        options = {"steps": 200, "batch_size": 16, "log_every": 20, "base_channels": 16}
        options |= {"learning_rate": 3e-4, "bf16": bf16, "checkpoint_every": 200}
        config = TrainConfig(**{**TINY.__dict__, **options})
        trainer = Trainer(images(256), SCHEDULE, tmp_path / str(bf16), config)
        trainer.train(progress=False)
        lines = (tmp_path / str(bf16) / "metrics.jsonl").read_text().splitlines()
        curves[bf16] = np.array([json.loads(line)["loss"] for line in lines])
    assert curves[False][-1] < 0.3 * curves[False][0]  # it learns
    np.testing.assert_allclose(curves[True], curves[False], rtol=0.15)
    assert curves[True].mean() == pytest.approx(curves[False].mean(), rel=0.03)
    assert (curves[True] != curves[False]).any()


CLASSES = Classes(np.arange(240) % 3, ("red", "green", "blue"))


def coloured(labels):
    """Images of one colour each: mainly that of their class, and any brightness."""
    rng = np.random.default_rng(0)
    colours = np.full((len(labels), 3), 60) + 150 * np.eye(3, dtype=int)[labels]
    colours = colours + rng.integers(-40, 41, size=(len(labels), 1))
    return np.broadcast_to(colours[:, None, None], (len(labels), 16, 16, 3)).astype(np.uint8)


@pytest.mark.slow
def test_it_learns_classes(tmp_path):
    options = {"steps": 250, "base_channels": 16, "batch_size": 16, "ema_decay": 0.98}
    config = TrainConfig(
        **{**TINY.__dict__, **options, "learning_rate": 2e-3, "class_conditional": True}
    )
    data = coloured(CLASSES.labels)
    run = tmp_path / "run"
    Trainer(data, SCHEDULE, run, config, classes=CLASSES).train(progress=False)
    pipeline = ScaleSpacePipeline.from_pretrained(run / "model")
    assert pipeline.class_names == CLASSES.names
    generator = torch.Generator().manual_seed(0)
    names = ["blue", "red", "green"]
    samples = pipeline(
        24, 12, generator=generator, class_labels=names, guidance_scale=1.5, output_type="np"
    ).images
    assert (samples.mean((1, 2)).argmax(-1) == np.tile([2, 0, 1], 8)).all()
    free = pipeline(24, 12, generator=generator, output_type="np").images
    assert len(set(free.mean((1, 2)).argmax(-1))) > 1  # without a class: several of them


@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_images_of_other_kinds_are_refused(kind, tmp_path):
    said = f"images: are {np.dtype(kind)}, not uint8"
    with pytest.raises(InputError, match=said):
        Trainer(images().astype(kind), SCHEDULE, tmp_path / "run", TINY)


def test_what_accelerate_is_configured_to_changes_no_gradient(tmp_path, monkeypatch):
    """It divides losses by a number of turns, and casts what a network computes."""
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    with pytest.raises(InputError, match=r"accelerate: .* 4 times.* give --accumulate 4"):
        Trainer(images(), SCHEDULE, tmp_path / "run", TINY)
    monkeypatch.delenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    trainer = Trainer(images(), SCHEDULE, tmp_path / "run", TINY)
    assert trainer.accelerator.mixed_precision == "no"


def test_classes_are_needed_exactly_where_they_are_learned(tmp_path):
    config = TrainConfig(**{**TINY.__dict__, "class_conditional": True})
    with pytest.raises(InputError, match="x: has no class for every image"):
        Trainer(images(), SCHEDULE, tmp_path / "a", config, data="x")
    trainer = Trainer(images(), SCHEDULE, tmp_path / "b", TINY, classes=CLASSES)
    assert trainer.pipeline().unet.num_classes is None


def test_labels_are_dropped_as_often_as_configured(tmp_path):
    options = {"class_conditional": True, "class_dropout": 0.3, "batch_size": 64}
    config = TrainConfig(**{**TINY.__dict__, **options})
    data = coloured(CLASSES.labels)
    trainer = Trainer(data, SCHEDULE, tmp_path / "run", config, classes=CLASSES)
    drawn = [trainer.batches.draw(step, 64 * step)[0].labels for step in range(20)]
    labels = torch.cat(drawn)
    assert (labels == -1).float().mean().item() == pytest.approx(0.3, abs=0.04)
    assert set(labels.tolist()) == {-1, 0, 1, 2}
