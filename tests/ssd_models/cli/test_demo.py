"""`ssd demo`."""

import signal

import numpy as np
import pytest
from PIL import Image

from ssd_models.cli import demo, main
from ssd_models.cli.demo_pictures import save_samples
from ssd_models.cli.demo_speed import steps_within
from ssd_models.training.learner import Learner


@pytest.fixture
def small(monkeypatch):
    """Few images, samples and calls."""
    for name, value in (("IMAGES", 200), ("TEST_IMAGES", 50), ("EACH", 2), ("CALLS", 3)):
        monkeypatch.setattr(demo, name, value)


@pytest.mark.slow
def test_it_runs_to_its_end(small, tmp_path, capsys):
    folder = tmp_path / "demo"
    main(["demo", "-o", str(folder), "--minutes", "0.01"])
    said = capsys.readouterr().out
    for what in ("5 classes", "dB per octave", "predicted 1.00  measured 1.00", "ssd derive"):
        assert what in said
    for name in ("schedule.json", "schedule.png", "power.png", "run/model/classes.json"):
        assert (folder / name).is_file()
    with Image.open(folder / "samples.png") as picture:
        assert picture.size == (5 * 66 - 2, 5 * 66 - 2)  # two real images, a gap, two samples
    with Image.open(folder / "growth.gif") as animation:
        assert animation.n_frames >= demo.CALLS


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it(number, status, small, tmp_path, monkeypatch, capsys):
    step = Learner.step

    def told_to_stop(self, batches, *arguments):
        if batches[0].step == 1:
            signal.raise_signal(number)
        return step(self, batches, *arguments)

    monkeypatch.setattr(Learner, "step", told_to_stop)
    monkeypatch.setattr(demo, "steps_within", lambda *_: 1000)
    folder = tmp_path / "demo"
    with pytest.raises(SystemExit) as ended:
        main(["demo", "-o", str(folder)])
    assert ended.value.code == status
    assert f"stopped at step 2 ({number.name})" in capsys.readouterr().out
    assert (folder / "run/checkpoints/step_0000002").is_dir()
    assert not (folder / "samples.png").exists()


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf"])
def test_minutes_must_be_positive(minutes, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["demo", "-o", str(tmp_path / "demo"), "--minutes", minutes])
    assert ended.value.code == 2
    assert "--minutes" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_steps_are_as_many_as_the_time_allows(monkeypatch):
    clock = iter(np.arange(1000.0))  # seconds; each step lasts one

    class Path:
        name, probability = "16", 1.0

    class Batch:
        path = Path

    class Trainer:
        class paths:
            paths = (Path,)

        class batches:
            draw = staticmethod(lambda step, seen: [Batch])

        class learner:
            step = staticmethod(lambda *_: np.zeros(1))

    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    assert steps_within(60, Trainer) == 60
    assert steps_within(0.1, Trainer) == 1


def test_samples_stand_beside_real_images_of_their_class(tmp_path):
    images = np.arange(4, dtype=np.uint8).repeat(3 * 8 * 8).reshape(4, 8, 8, 3)
    labels = np.array([1, 0, 0, 1])
    samples = 100 + np.arange(6, dtype=np.uint8).repeat(3 * 8 * 8).reshape(6, 8, 8, 3)
    save_samples(tmp_path / "samples.png", samples, images, labels)
    with Image.open(tmp_path / "samples.png") as picture:
        pixels = np.asarray(picture)[::34, ::34, 0]
    assert pixels.tolist() == [[1, 2, 255, 100, 101, 102], [0, 3, 255, 103, 104, 105]]
