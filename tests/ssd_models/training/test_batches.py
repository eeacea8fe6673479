"""What training steps draw: the same for any number of processes, and an unbiased gradient."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ssd_models.data.class_labels import Classes
from ssd_models.diffusion.process import ScaleSpaceProcess
from ssd_models.training.batches import Batches, slot_noise
from ssd_models.training.config import TrainConfig
from ssd_models.training.objective import MOST_IMAGES, DenoisingLoss, PathSampler
from ssd_models.training.splits import evenly_spread, held_out
from theory import NoiseSchedule, ResolutionSchedule

NOISE = NoiseSchedule.linear(100)
SCHEDULE = ResolutionSchedule.from_noise(
    np.repeat([32, 16, 8, 4], [40, 20, 20, 20]), NOISE, levels=(32, 16, 8, 4)
)
CONFIG = TrainConfig(batch_size=6, change_fraction=0.3)
IMAGES = np.arange(50, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 32, 32, 3), np.uint8)
CLASSES = Classes(np.arange(50) % 7, tuple("abcdefg"))


def batches_of(config=CONFIG, process=0, processes=1, chosen=None):
    chosen = np.arange(len(IMAGES)) if chosen is None else chosen
    paths = PathSampler.of(config, SCHEDULE)
    return Batches(IMAGES, chosen, CLASSES, paths, config, process, processes)


def drawn(sources, step, seen):
    """Images, steps, labels and noise of a whole step, in the order of their places."""
    parts = []
    for source in sources:
        for batch in source.draw(step, seen):
            noise = source.noise(batch, torch.device("cpu"))
            parts.append((batch.first, batch.images, batch.t, batch.labels, noise))
    parts.sort(key=lambda part: part[0])
    return [torch.cat(tensors) for tensors in list(zip(*parts, strict=True))[1:]]


@pytest.mark.parametrize("constant_pixels", [False, True])
@pytest.mark.parametrize(
    ("processes", "accumulate", "batch_size"), [(2, 1, 6), (1, 2, 6), (3, 2, 2), (4, 1, 3)]
)
def test_a_step_is_the_same_however_it_is_divided(
    processes, accumulate, batch_size, constant_pixels
):
    whole = replace(CONFIG, batch_size=12, constant_pixels=constant_pixels)
    divided = replace(whole, batch_size=batch_size, accumulate=accumulate)
    alone = batches_of(whole)
    several = [batches_of(divided, i, processes) for i in range(processes)]
    seen = 0
    for step in range(12):
        expected, found = drawn([alone], step, seen), drawn(several, step, seen)
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
        size = alone.size(alone.draw(step, seen)[0].path)
        assert len(expected[0]) == size
        seen += size


def test_processes_agree_on_the_path():
    several = [batches_of(process=i, processes=5) for i in range(5)]
    names = [{s.draw(step, 0)[0].path.name for s in several} for step in range(100)]
    assert all(len(paths) == 1 for paths in names)
    assert set.union(*names) == {"32", "16", "8", "4", "16->32", "8->16", "4->8"}


def test_every_image_is_seen_once_an_epoch_and_held_out_ones_never():
    chosen = np.setdiff1d(np.arange(50), [3, 17, 40])
    source = batches_of(replace(CONFIG, batch_size=5), chosen=chosen)
    seen = np.concatenate(
        [source.draw(step, 5 * step)[0].images[:, 0, 0, 0].numpy() for step in range(47)]
    )
    orders = seen.reshape(5, 47)  # 235 images: five epochs
    for order in orders:
        assert np.array_equal(np.sort(order), chosen)
    assert not np.array_equal(orders[0], orders[1])


def test_following_a_run_gives_the_same_as_drawing():
    source = batches_of(replace(CONFIG, constant_pixels=True))
    seen = 0
    with source.from_step(0, 0) as following:
        for step in range(10):
            batch = next(following)[0]
            expected = source.draw(step, seen)[0]
            assert batch.path is expected.path
            assert torch.equal(batch.images, expected.images)
            assert torch.equal(batch.t, expected.t)
            seen += len(batch.t)
    with source.from_step(10, seen) as following:
        assert torch.equal(next(following)[0].images, source.draw(10, seen)[0].images)


def test_noise_depends_on_the_place_alone():
    device = torch.device("cpu")
    whole = slot_noise(0, 3, 0, 40, (2, 4, 4), device)
    for first, count in ((0, 8), (5, 20), (16, 3), (39, 1)):
        part = slot_noise(0, 3, first, count, (2, 4, 4), device)
        assert torch.equal(part, whole[first : first + count])
    assert whole.reshape(40, -1).corrcoef().fill_diagonal_(0).abs().max() < 0.75
    assert not torch.equal(whole, slot_noise(0, 4, 0, 40, (2, 4, 4), device))
    many = slot_noise(1, 0, 0, 4000, (3, 2, 2), device)
    assert many.mean().abs() < 4 / 48000**0.5
    assert many.var() == pytest.approx(1, abs=0.03)


def test_constant_pixels_fill_small_paths():
    paths = {p.name: p for p in PathSampler(SCHEDULE, 0.3, constant_pixels=True).paths}
    assert [paths[name].images for name in ("32", "16->32", "16", "8->16", "8", "4")] == [
        *(1, 1, 4, 4, 16),
        MOST_IMAGES,
    ]
    plain = PathSampler(SCHEDULE, 0.3)
    assert all(path.images == 1 for path in plain.paths)
    assert [p.probability for p in plain.paths] == [p.probability for p in paths.values()]


class Scaled(torch.nn.Module):
    """Predicts ``w`` times the state, each pixel repeated to the output resolution."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor(0.4, dtype=torch.float64))

    def forward(self, x_t, t, out_resolution, class_labels):
        factor = out_resolution // x_t.shape[-1]
        prediction = self.w * x_t.double()

        class Output:
            sample = prediction.repeat_interleave(factor, 2).repeat_interleave(factor, 3)

        return Output


@pytest.mark.parametrize("constant_pixels", [False, True])
def test_the_weighted_gradient_is_that_of_all_steps_alike(constant_pixels):
    """On a linear model and images of one colour, whose expected gradient is known."""
    config = replace(CONFIG, constant_pixels=constant_pixels, change_fraction=0.5)
    source = batches_of(config)
    weights = np.minimum(SCHEDULE.base_snr, 5.0)
    loss_of, model = DenoisingLoss(ScaleSpaceProcess(SCHEDULE), weights), Scaled()
    c2 = ((IMAGES[:, 0, 0, 0] / 127.5 - 1) ** 2).mean()
    a, s, w = SCHEDULE.alpha, SCHEDULE.sigma, model.w.item()
    snr = np.minimum(SCHEDULE.base_snr, 5)
    # d/dw of snr · E (c − w (a c + σ n))², for states at the scale of the image
    by_step = -2 * snr * (a * c2 - w * (a**2 * c2 + s**2))
    found, unweighted, seen = [], [], 0
    for step in range(3000):
        batch = source.draw(step, seen)[0]
        noise = source.noise(batch, torch.device("cpu"))
        x0 = batch.x0(torch.device("cpu"))
        loss = loss_of(model, x0, batch.t, noise).loss
        (gradient,) = torch.autograd.grad(loss.double(), model.w)
        unweighted.append(gradient.item())
        found.append(gradient.item() * source.paths.weight(batch.path))
        seen += len(batch.t)
    error = np.std(found) / len(found) ** 0.5
    assert error < 0.05 * abs(by_step.mean())
    assert np.mean(found) == pytest.approx(by_step.mean(), abs=4 * error)
    biased = np.std(unweighted) / len(unweighted) ** 0.5
    assert abs(np.mean(unweighted) - by_step.mean()) > 8 * biased  # the weights matter here


def test_the_held_out_split_is_stable_under_added_files():
    names = [f"cats/{i}.png" for i in range(5000)]
    out = held_out(names, 0.02)
    assert 60 < out.sum() < 140
    more = sorted([*names, *(f"ants/{i}.png" for i in range(3000))])
    again = dict(zip(more, held_out(more, 0.02), strict=True))
    assert all(again[name] == flag for name, flag in zip(names, out, strict=True))
    assert (held_out(names, 0.05) >= out).all()  # a larger share holds out more, never others
    assert not held_out(names, 0.0).any()
    assert not held_out(["a"], 0.99).any()
    assert len(held_out(["\udcff.png"], 0.5)) == 1  # a file name that is not UTF-8


def test_a_few_of_many_images_are_spread_over_all():
    for count in (0, 1, 9, 10):
        assert evenly_spread(count, 10).tolist() == list(range(count))
    for count in (11, 15, 19, 20, 1234):
        gaps = np.diff([*evenly_spread(count, 10), count])
        assert len(gaps) == 10
        assert set(gaps) <= {count // 10, -(-count // 10)}
