"""Where a run's curves and samples go besides its directory."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from accelerate import tracking
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ssd_models.cli import main
from ssd_models.training.config import TrainConfig, read_config
from ssd_models.training.run_log import read_metrics
from ssd_models.training.trainer import Trainer
from theory import InputError, NoiseSchedule, ResolutionSchedule

SCHEDULE = ResolutionSchedule.from_noise(
    np.repeat([16, 8], [40, 60]), NoiseSchedule.linear(100), levels=(16, 8)
)
TINY = TrainConfig(
    steps=8,
    batch_size=4,
    base_channels=8,
    log_every=1,
    checkpoint_every=3,
    sample_every=2,
    held_out=0.0,
    bf16=False,
)
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), dtype=np.uint8)


class Recorder(tracking.GeneralTracker):
    """In the place of wandb: remembers what it was sent."""

    name = "wandb"
    requires_logging_directory = False
    runs: ClassVar[list["Recorder"]] = []
    fails_at = None

    def __init__(self, project, **options):
        super().__init__()
        self.project, self.options = project, options
        self.id, self.config, self.points, self.pictures, self.ended = (
            options["id"],
            None,
            [],
            [],
            0,
        )

    @property
    def tracker(self):
        return self

    def start(self):
        if self.fails_at == "start":
            raise RuntimeError("no key\nis known")
        self.runs.append(self)

    def store_init_configuration(self, values):
        self.config = values

    def log(self, values, step):
        if step == self.fails_at:
            raise ConnectionError("gone")
        self.points.append((step, values))

    def log_images(self, values, step):
        self.pictures.append((step, values))

    def finish(self):
        self.ended += 1


@pytest.fixture
def recorder(monkeypatch):
    kind = type("Kind", (Recorder,), {"runs": []})
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "wandb", kind)
    monkeypatch.setattr(tracking, "get_available_trackers", lambda: list(tracking.LoggerType))
    return kind


def killed_and_resumed(run, config, at):
    """Train up to each of some steps, ending there without a checkpoint, and then to the end."""
    for number, step in enumerate([*at, None]):
        trainer = Trainer(IMAGES, SCHEDULE, run, config, resume=number > 0)
        learn = trainer.learner.step

        def die(batches, *arguments, learn=learn, step=step):
            if batches[0].step == step:
                raise KeyboardInterrupt
            return learn(batches, *arguments)

        trainer.learner.step = die
        if step is None:
            trainer.train(progress=False)
        else:
            with pytest.raises(KeyboardInterrupt):
                trainer.train(progress=False)


def events(run):
    found = EventAccumulator(str(run), {"scalars": 0, "images": 0, "tensors": 0})
    found.Reload()
    return found


def test_tensorboard_has_each_point_once(tmp_path):
    run = tmp_path / "run"
    killed_and_resumed(run, TINY, at=[5])
    found = events(run)
    losses = {entry["step"]: entry["loss"] for entry in read_metrics(run / "metrics.jsonl")}
    assert [event.step for event in found.Scalars("loss")] == list(range(1, 9))
    assert [event.value for event in found.Scalars("loss")] == pytest.approx(list(losses.values()))
    assert "paths/16/error" in found.Tags()["scalars"]
    assert [event.step for event in found.Images("samples")] == [2, 4, 6, 8]
    assert (run / "samples/step_0000008.png").is_file()
    (text,) = found.Tensors("config/text_summary")
    assert b"learning_rate: 0.0002" in text.tensor_proto.string_val[0]
    assert b"schedule/levels: 16 8" in text.tensor_proto.string_val[0]
    assert not [path for path in run.iterdir() if path.is_dir() and path.name[0].isdigit()]


def test_a_tracker_sees_one_run(tmp_path, recorder):
    run = tmp_path / "faces"
    killed_and_resumed(run, replace(TINY, log_with=("wandb",)), at=[5, 4])
    first, second, third = recorder.runs
    assert first.project == "scale-space-diffusion"
    assert first.options["name"] == "faces"
    assert first.id == second.id == third.id
    assert first.config["learning_rate"] == 2e-4
    assert first.config["schedule/levels"] == "16 8"
    assert second.config is None
    assert [[step for step, _ in each.points] for each in recorder.runs] == [
        [1, 2, 3, 4, 5],
        [],  # went on from step 3 to 4, which had been sent
        [6, 7, 8],
    ]
    pictures = [
        (step, images["samples"]) for each in recorder.runs for step, images in each.pictures
    ]
    assert [step for step, _ in pictures] == [2, 4, 6, 8]
    assert pictures[0][1][0].shape == (70, 70, 3)  # a grid of 4 x 4
    assert [each.ended for each in recorder.runs] == [1, 1, 1]
    assert len(events(run).Scalars("loss")) == 8
    assert read_config(run / "config.yaml")["log_with"] == ["wandb"]


def test_a_tracker_that_fails_ends_no_training(tmp_path, recorder, capsys):
    recorder.fails_at = 3
    trainer = Trainer(IMAGES, SCHEDULE, tmp_path / "run", replace(TINY, log_with=["wandb"]))
    assert trainer.train(progress=False) is None
    assert "ssd: warning: wandb: gets no more of this run (gone)" in capsys.readouterr().err
    assert [step for step, _ in recorder.runs[0].points] == [1, 2]
    assert len(events(tmp_path / "run").Scalars("loss")) == 8


def test_a_tracker_that_does_not_start_is_said(tmp_path, recorder):
    recorder.fails_at = "start"
    config = replace(TINY, log_with=("wandb",))
    with pytest.raises(InputError, match=r"wandb: does not start \(no key is known\); mend that"):
        Trainer(IMAGES, SCHEDULE, tmp_path / "run", config).train(progress=False)
    recorder.fails_at = None
    Trainer(IMAGES, SCHEDULE, tmp_path / "run", config, resume=True).train(progress=False)
    assert len(recorder.runs[0].points) == 8


def test_a_missing_package_is_named_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tracking, "get_available_trackers", lambda: [])
    SCHEDULE.save("schedule.json")
    before = set(Path().iterdir())
    with pytest.raises(SystemExit) as ended:
        main(["train", "--data", "photos", "--log-with", "wandb", "mlflow"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "log_with wandb: its package is not installed; pip install wandb mlflow" in said
    assert set(Path().iterdir()) == before
    with pytest.raises(
        InputError, match="log_with 'paper': choose from tensorboard, wandb, mlflow"
    ):
        replace(TINY, log_with=("paper",)).check()


def test_wandb_itself_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = tmp_path / "run"
    killed_and_resumed(run, replace(TINY, log_with=("wandb",)), at=[5])
    files = [path.name for path in run.glob("wandb/offline-run-*/run-*.wandb")]
    assert len(files) == 2
    assert len(set(files)) == 1  # two parts of one run
