"""`ssd evaluate`: runs, models and images from elsewhere; errors of denoising; what is refused."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import command_refusal, gaussian_images, refusal
from PIL import Image

from ssd_models.cli import main
from ssd_models.data.class_labels import class_indices
from ssd_models.diffusion.gaussian import GaussianDenoiser
from ssd_models.metrics.denoising import change_errors, denoising_errors, level_errors
from ssd_models.metrics.inception import inception_metrics
from ssd_models.metrics.neighbours import nearest_distances
from ssd_models.network.flexi_unet import FlexiUNet
from ssd_models.sampling.generating import BLOCK, generate
from ssd_models.sampling.pipeline import ScaleSpacePipeline
from ssd_models.training.run_data import run_images
from theory import InputError, NoiseSchedule, ResolutionSchedule, Spectrum, derive_schedule
from theory.information.mmse import gaussian_mmse

SIZE = 16
NOISE = NoiseSchedule.linear(1000)
SPECTRUM = Spectrum.power_law(SIZE, 2.2, pixel_variance=0.03, channels=3)
SCHEDULE = derive_schedule(SPECTRUM, NOISE, (16, 8), tolerance=0.3, criterion="snr")


def pipeline():
    torch.manual_seed(0)
    unet = FlexiUNet.from_preset(f"small-{SIZE}", base_channels=8)
    return ScaleSpacePipeline(unet, SCHEDULE, SPECTRUM)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("evaluate")
    np.savez(path / "images.npz", images=gaussian_images(SPECTRUM, 200))
    np.savez(path / "others.npz", images=gaussian_images(SPECTRUM, 260)[200:])
    SCHEDULE.save(path / "schedule.json")
    tiny = ["--steps", "4", "--batch-size", "4", "--base-channels", "8", "--bf16", "False"]
    where = ["--data", str(path / "images.npz"), "--schedule", str(path / "schedule.json")]
    main(["train", *where, "-o", str(path / "run"), *tiny, "--held-out", "0.3"])
    return path


def test_the_exact_denoiser_errs_as_theory_says():
    pipe, images = pipeline(), gaussian_images(SPECTRUM, 150)
    exact = GaussianDenoiser(SPECTRUM, pipe.scheduler.process)
    steps = [900, 500, 100]
    found = denoising_errors(pipe, images, steps, denoise=exact)
    for i, t in enumerate(steps):
        r = int(SCHEDULE.resolutions[t])
        level = SPECTRUM.at_resolution(r, "dct") if r < SIZE else SPECTRUM
        total = found.totals[:, i]
        expected = gaussian_mmse(level, SCHEDULE.snr[t])
        assert (
            abs(total.mean() - expected) < 4 * total.std() / np.sqrt(len(total)) + 0.01 * expected
        )
        assert found.shells[i].shape == (150, r)
    again = denoising_errors(pipe, images[:10], steps, batch=3, denoise=exact)
    np.testing.assert_allclose(again.totals, found.totals[:10], rtol=1e-4)
    with pytest.raises(InputError, match="must be between 0 and 999"):
        denoising_errors(pipe, images, [1000])
    with pytest.raises(InputError, match="the network needs"):
        denoising_errors(pipe, images[:, ::2, ::2], [3])


def test_errors_by_level_and_at_changes():
    pipe, images = pipeline(), gaussian_images(SPECTRUM, 40)
    rows = level_errors(pipe, images, per_level=3)
    assert [row["level"] for row in rows] == [16] * 3 + [8] * 3
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    assert not {row["step"] for row in rows} & set(SCHEDULE.changes)
    values = 8 * 8 * 3
    snr = SCHEDULE.snr[999]
    linear = gaussian_mmse(SPECTRUM.at_resolution(8, "dct"), snr) / values
    assert rows[-1]["linear"] == pytest.approx(linear)
    assert rows[0]["error"] > 10 * rows[0]["linear"]  # an untrained network, hardly any noise
    (change,) = change_errors(pipe, images)
    assert (change["from"], change["to"]) == (8, 16)
    assert change["all"]["over_linear"] > 1.5
    exact = GaussianDenoiser(SPECTRUM, pipe.scheduler.process)
    pipe.denoiser = lambda *_, **__: exact
    (same,) = change_errors(pipe, images)
    assert same["all"]["over_linear"] == pytest.approx(1)
    assert same["new_octave"]["standard_error"] == pytest.approx(0, abs=1e-9)


def test_the_linear_denoisers_error_is_that_of_attenuated_states():
    schedule = derive_schedule(SPECTRUM, NOISE, (16, 8), criterion="water-filling")
    unet = FlexiUNet.from_preset(f"small-{SIZE}", base_channels=8)
    pipe = ScaleSpacePipeline(unet, schedule, SPECTRUM)
    exact = GaussianDenoiser(SPECTRUM, pipe.scheduler.process)
    pipe.denoiser = lambda *_, **__: exact
    rows = level_errors(pipe, gaussian_images(SPECTRUM, 400), per_level=4)
    for row in rows:
        assert abs(row["error"] - row["linear"]) < 4 * row["standard_error"]
    unattenuated = [
        gaussian_mmse(
            SPECTRUM if row["level"] == SIZE else SPECTRUM.at_resolution(8, "dct"),
            schedule.snr[row["step"]],
        )
        / (row["level"] ** 2 * 3)
        for row in rows
    ]
    found = [row["linear"] / each for row, each in zip(rows, unattenuated, strict=True)]
    assert max(found) > 1.15  # where attenuation hides most


def test_samples_do_not_depend_on_the_number_of_processes(monkeypatch):
    pipe = pipeline()
    exact = GaussianDenoiser(SPECTRUM, pipe.scheduler.process)
    pipe.denoiser = lambda *_, **__: exact  # an untrained network makes one image only
    whole = generate(pipe, BLOCK + 20, 3, seed=4)
    parts = []
    monkeypatch.setattr(
        "ssd_models.sampling.generating.gathered", lambda own: parts.extend(own) or parts
    )
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        found = generate(pipe, BLOCK + 20, 3, seed=4)
    np.testing.assert_array_equal(found, whole)
    assert len(np.unique(whole.reshape(len(whole), -1), axis=0)) == len(whole)


def test_classes_go_on_in_turn_over_all_images():
    seen = []

    class Recorder:
        def class_indices(self, labels, count):
            return class_indices(labels, count, 3)

        def __call__(self, size, *_, class_labels, **__):
            seen.extend(class_labels.tolist())
            return SimpleNamespace(images=np.zeros((size, 2, 2, 3), np.uint8))

    assert len(generate(Recorder(), BLOCK + 5, 3, class_labels=[0, 1, 2])) == BLOCK + 5
    assert seen == [i % 3 for i in range(BLOCK + 5)]
    with pytest.raises(InputError, match="num_images_per_prompt must be 1"):
        generate(Recorder(), 4, 3, num_images_per_prompt=2)


def test_a_run(folder, capsys):
    main(["evaluate", str(folder / "run"), "-n", "24", "--steps", "4"])
    shown = capsys.readouterr().out
    result = json.loads((folder / "run" / "evaluation.json").read_text())
    assert result["counts"]["sampled"] == 24
    assert result["counts"]["held_out"] + result["counts"]["training"] == 200
    assert result["sampling"]["calls"] == 4
    assert "memorization" in result["metrics"]
    assert {row["level"] for row in result["denoising"]} == {16, 8}
    (change,) = result["changes"]
    assert (change["from"], change["to"]) == (8, 16)
    row = next(line for line in shown.splitlines() if "8 -> 16" in line)
    assert f"  {change['all']['over_linear']:.3f} ±" in row
    value = result["metrics"]["frechet_scattering"]["value"]
    row = next(line.split() for line in shown.splitlines() if line.startswith("frechet"))
    assert row[2] == f"{value:.3f}"
    assert "error on held-out images" in shown
    before = (folder / "run" / "evaluation.json").read_bytes()
    main(["evaluate", str(folder / "run"), "-n", "24", "--steps", "4"])
    assert (folder / "run" / "evaluation.json").read_bytes() == before


@pytest.mark.parametrize("form", ["as it was", "prepared"])
def test_training_images_of_a_run_are_not_copied(form, folder, tmp_path):
    data = str(folder / "images.npz")
    if form == "prepared":
        main(["prepare", data, "-o", str(tmp_path / "prepared"), "--resolution", str(SIZE)])
        data = str(tmp_path / "prepared")
    real = run_images(folder / "run", data)
    with np.load(folder / "images.npz") as file:
        whole = file["images"]
    tracemalloc.start()
    try:
        training = real.training
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < whole.nbytes / 20
    np.testing.assert_array_equal(training[:], whole[~real.out])
    np.testing.assert_array_equal(real.held_out, whole[real.out])
    copies = whole[~real.out][:5]
    assert nearest_distances(copies, training).tolist() == [0] * 5


def test_a_model_and_images_from_elsewhere(folder, tmp_path):
    data = ["--data", str(folder / "images.npz"), "-n", "24"]
    out = tmp_path / "model.json"
    main(["evaluate", str(folder / "run" / "model"), *data, "--steps", "4", "-o", str(out)])
    model = json.loads(out.read_text())
    out = tmp_path / "images.json"
    main(["evaluate", str(folder / "others.npz"), *data, "-o", str(out)])
    images = json.loads(out.read_text())
    for result, worse in ((model, True), (images, False)):
        far = result["metrics"]["octave_decibels"]["value"]
        assert any(value is None or abs(value) > 3 for value in far) == worse
        assert "memorization" not in result["metrics"]


def test_two_processes_measure_what_one_does(folder, tmp_path):
    outputs = []
    for count in (1, 2):
        outputs.append(tmp_path / f"{count}.json")
        command = ["evaluate", str(folder / "run"), "-n", "24", "--steps", "3", "--bf16", "False"]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                *("--nproc-per-node", str(count), "-m", "ssd_models.cli", *command),
                *("-o", str(outputs[-1])),
            ],
            timeout=100,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
    one, two = (json.loads(output.read_text()) for output in outputs)
    assert one == two


def test_refusals(folder, capsys, tmp_path, monkeypatch):
    run, data = str(folder / "run"), ["--data", str(folder / "images.npz")]
    (tmp_path / "stopped").mkdir()
    np.save(tmp_path / "oblong.npy", np.zeros((24, 16, 20, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    shutil.copy(folder / "run" / "config.yaml", tmp_path / "stopped")
    for command, said in (
        (["nowhere", *data], "nowhere: no such run, model or images"),
        (["glyphs", *data], "glyphs: is a built-in dataset; give a run"),
        (["photos", *data], "images that one made (./photos for a folder called photos)"),
        (["oblong.npy", *data], "not square; give square images, such as `ssd prepare`"),
        ([str(folder / "run" / "model")], "is no run; give the real images with --data"),
        ([run, "--steps", "0"], "must be at least 1"),
        ([run, "-n", "8"], "needs at least 20 generated"),
        ([run, "--eta", "2"], "eta"),
        ([run, "-o", str(tmp_path)], "is a folder"),
        ([run, "--data", "gone.zip"], "gone.zip"),
        ([run, "--inception", str(tmp_path / "no.pth"), "-n", "24"], "no such weights file"),
        ([str(tmp_path / "stopped")], "model: the run has no model yet"),
    ):
        assert said in command_refusal(["evaluate", *command], capsys)


def test_images_too_small_to_measure_are_refused_before_sampling(
    folder, capsys, monkeypatch, tmp_path
):
    monkeypatch.setattr("ssd_models.sampling.generating.generate", lambda *_, **__: 1 / 0)
    unet = FlexiUNet.from_preset("small-8", base_channels=8)
    ScaleSpacePipeline(unet, ResolutionSchedule.full_resolution(8, NOISE)).save_pretrained(
        tmp_path / "model"
    )
    np.save(tmp_path / "small.npy", np.zeros((24, 8, 8, 3), np.uint8))
    for what in ("model", "small.npy"):
        command = ["evaluate", str(tmp_path / what), "--data", str(folder / "images.npz")]
        assert "images of 8 px cannot be used; give" in command_refusal(command, capsys)


class _Code:
    def __reduce__(self):
        return os.system, ("true",)


def test_weights_with_code_are_refused_before_anything_loads_them(tmp_path):
    images = gaussian_images(SPECTRUM, 8)
    (tmp_path / "code.pth").write_bytes(pickle.dumps(_Code(), protocol=2))
    assert "is no file of weights" in refusal(
        lambda: inception_metrics(images, images, tmp_path / "code.pth")
    )
    torch.save({"a": 3}, tmp_path / "number.pth")
    assert "something else than named tensors" in refusal(
        lambda: inception_metrics(images, images, tmp_path / "number.pth")
    )


def fidelity():
    """torch-fidelity, where it and the torchvision that it needs can be imported."""
    try:
        import torch_fidelity
    except (ImportError, RuntimeError):
        return None
    return torch_fidelity


@pytest.mark.skipif(fidelity() is not None, reason="torch-fidelity is installed")
def test_inception_metrics_name_what_to_install(folder, capsys, monkeypatch):
    monkeypatch.setattr("ssd_models.sampling.generating.generate", lambda *_, **__: 1 / 0)
    images = gaussian_images(SPECTRUM, 8)
    said = refusal(lambda: inception_metrics(images, images))
    assert said.endswith('pip install "scale-space-diffusion[metrics]"')
    command = ["evaluate", str(folder / "run"), "--inception", "download"]
    said = command_refusal(command, capsys)
    assert "torch-fidelity cannot be used" in said


@pytest.fixture
def random_weights(monkeypatch):
    """Builder of weights of torch-fidelity's network as its file has them, all random."""
    module = pytest.importorskip(
        "torch_fidelity.feature_extractor_inceptionv3", exc_type=(ImportError, RuntimeError)
    )

    def build(seed):
        torch.manual_seed(seed)
        network = module.FeatureExtractorInceptionV3
        with monkeypatch.context() as patched:
            patched.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
            patched.setattr(network, "load_state_dict", lambda *_, **__: None)
            built = network("random", ["2048"])
        for layer in built.modules():
            if isinstance(layer, torch.nn.Conv2d):  # or features would be next to nothing
                torch.nn.init.kaiming_normal_(layer.weight)
        return built.state_dict()

    return build


@pytest.mark.slow
@pytest.mark.skipif(fidelity() is None, reason="torch-fidelity is not installed")
def test_inception_metrics_of_random_weights(random_weights, tmp_path):
    images, weights = gaussian_images(SPECTRUM, 60), tmp_path / "weights.pth"
    torch.save(random_weights(0), weights)
    near = inception_metrics(images[:30], images[30:], weights, tmp_path / "cache")
    far = inception_metrics(images[:30] // 2, images[30:], weights, tmp_path / "cache")
    assert near["counts"] == {"sampled": 30, "reference": 30}
    assert far["fid"] > 2 * near["fid"] > 0
    assert far["kid"] > near["kid"]
    assert far["precision"] < near["precision"] <= 1
    kept = set((tmp_path / "cache").iterdir())
    again = inception_metrics(images[:30], images[30:], weights, tmp_path / "cache")
    assert again["fid"] == pytest.approx(near["fid"])
    assert set((tmp_path / "cache").iterdir()) == kept
    torch.save(random_weights(1), weights)  # another file of the same name
    other = inception_metrics(images[:30], images[30:], weights, tmp_path / "cache")
    assert other["fid"] != pytest.approx(near["fid"], rel=1e-3)
    torch.save({"a": torch.zeros(2)}, weights)
    said = refusal(lambda: inception_metrics(images[:30], images[30:], weights, tmp_path / "cache"))
    assert "are the weights of another network" in said


def test_a_run_that_holds_out_too_little_is_judged_by_its_samples(folder, capsys):
    run = str(folder / "nothing-held-out")
    images = str(folder / "images.npz")
    schedule = ["--schedule", str(folder / "run/schedule.json")]
    tiny = ["--steps", "2", "--batch-size", "2", "--base-channels", "8", "--held-out", "0"]
    main(["train", "--data", images, *schedule, "-o", run, *tiny])
    main(["evaluate", run, "-n", "24", "--steps", "4"])
    assert "holds out none of the 200 images" in capsys.readouterr().err
    result = json.loads((folder / "nothing-held-out/evaluation.json").read_text())
    assert {"frechet_scattering", "sliced_wasserstein"} <= set(result["metrics"])
    assert "memorization" not in result["metrics"]
    assert "denoising" not in result


def test_what_a_run_left_out_stays_left_out(tmp_path, capsys):
    """Evaluated, measured and resumed as it was trained, without saying so again."""
    data, run = tmp_path / "images", tmp_path / "run"
    data.mkdir()
    for i, image in enumerate(gaussian_images(SPECTRUM, 60)):
        Image.fromarray(image).save(data / f"{i}.png")
    (data / "7.png").write_bytes(b"")
    SCHEDULE.save(tmp_path / "schedule.json")
    where = ["--data", str(data), "--schedule", str(tmp_path / "schedule.json"), "-o", str(run)]
    tiny = ["--steps", "2", "--batch-size", "4", "--base-channels", "8", "--held-out", "0.3"]
    assert "--skip-bad" in command_refusal(["train", *where, *tiny], capsys)
    main(["train", *where, *tiny, "--skip-bad"])
    assert "skipped 1 of 60 images" in capsys.readouterr().err
    main(["evaluate", str(run), "-n", "20", "--steps", "2"])
    main(["information", str(run), "--steps", "2", "-n", "10"])
    main(["train", "--resume", "-o", str(run), "--steps", "3"])
    assert "skipped 1 of 60 images" in capsys.readouterr().err
    assert (run / "checkpoints/step_0000003").is_dir()
