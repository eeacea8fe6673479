"""`ssd demo`."""

import signal

import pytest

from ssd_models.cli import demo, main
from ssd_models.training.learner import Learner


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it(number, status, tmp_path, monkeypatch, capsys):
    step = Learner.step

    def told_to_stop(self, batches, *arguments):
        if batches[0].step == 1:
            signal.raise_signal(number)
        return step(self, batches, *arguments)

    monkeypatch.setattr(Learner, "step", told_to_stop)
    monkeypatch.setattr(
        demo, "_seconds_per_image", lambda schedules, _: dict.fromkeys(schedules, 1)
    )
    folder = tmp_path / "demo"
    with pytest.raises(SystemExit) as ended:
        main(["demo", "-o", str(folder), "--steps", "1000"])
    assert ended.value.code == status
    assert f"stopped at step 2 ({number.name})" in capsys.readouterr().out
    assert (folder / "run/checkpoints/step_0000002").is_dir()
    assert not (folder / "samples.png").exists()
