"""`sample_whitened`: Gaussian data stand still in its coordinates, whatever the schedule."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers import refusal

from ssd_models import GaussianDenoiser, ScaleSpaceProcess, sample_whitened
from ssd_models.sampling.whitened import WhitenedCoordinates
from theory import NoiseSchedule, ResolutionSchedule, Spectrum, derive_schedule, select_steps
from theory.images.operators import dct_basis
from theory.oracle.sampler import Sampler

SIZE = 16
SPECTRUM = Spectrum.power_law(SIZE, 2.2, channels=3)
NOISE = NoiseSchedule.linear(200)
SCHEDULES = {
    "one level": ResolutionSchedule.full_resolution(SIZE, NOISE),
    "jump": derive_schedule(SPECTRUM, NOISE, (16, 8, 4), "snr", 1.0),
    "paper": ResolutionSchedule.paper(SIZE, 3, "equal", NOISE, operator="dct"),
    "attenuated": derive_schedule(SPECTRUM, NOISE, (16, 8, 4)),
    "attenuated, p = 1": derive_schedule(SPECTRUM, NOISE, (16, 8, 4), smoothness=1.0),
}


def begun(schedule, count, seed=0):
    """Exact denoiser, process, and states at the first step."""
    process = ScaleSpaceProcess(schedule)
    denoise = GaussianDenoiser(SPECTRUM, process)
    generator = torch.Generator().manual_seed(seed)
    clean = denoise.field.draw(count, generator, torch.empty(0, dtype=torch.float64))
    x = process.add_noise(clean, len(NOISE) - 1, generator=generator)
    return denoise, process, x, generator


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("calls", [1, 3, 10])
def test_gaussian_data_stand_still(kind, calls):
    schedule = SCHEDULES[kind]
    denoise, process, x, generator = begun(schedule, 3)
    steps = select_steps(schedule, calls, sampler=Sampler(changes="free"))
    if calls == 1 and not schedule.changes:
        steps = [len(NOISE) - 1]
    coordinates = WhitenedCoordinates(process, SPECTRUM)
    states = [coordinates.from_state(x, steps[0])]
    sample_whitened(
        denoise,
        process,
        x,
        steps,
        spectrum=SPECTRUM,
        generator=generator,
        changes="free",
        callback=lambda s: states.append(s.x if s.s is None else coordinates.from_state(s.x, s.s)),
    )
    for before, after in pairwise(states[:-1]):
        side = before.shape[-1]
        torch.testing.assert_close(after[..., :side, :side], before, atol=1e-8, rtol=0)


@pytest.mark.parametrize("calls", [1, 10])
def test_samples_have_the_power_of_the_data(calls):
    """Four levels down to 2 px, so that most coefficients are opened on the way."""
    schedule = derive_schedule(SPECTRUM, NOISE, (16, 8, 4, 2))
    denoise, process, x, generator = begun(schedule, 3000)
    steps = select_steps(schedule, calls)
    images = sample_whitened(denoise, process, x, steps, spectrum=SPECTRUM, generator=generator)
    basis = torch.from_numpy(dct_basis(SIZE))
    centred = torch.einsum("ck,nchw->nkhw", denoise.field.colours(images), images)
    power = (basis @ centred @ basis.T).var(dim=0).permute(1, 2, 0).numpy()
    # The last call returns its prediction, which lacks what the last state leaves open.
    gains = schedule.signal_gains(steps[-1])[..., None] / schedule.sigma[steps[-1]]
    rho = gains**2 * SPECTRUM.power
    ratio = power / (SPECTRUM.power * rho / (1 + rho))
    assert abs(ratio.mean() - 1) < 4 * np.sqrt(2 / 3000 / ratio.size)
    assert ratio.std() < 1.2 * np.sqrt(2 / 3000)


def test_corrected_changes_move_the_new_band_alone():
    """A denoiser that knows the image: the trapezoid leaves less of the new band to later steps."""
    schedule = SCHEDULES["jump"]
    _, process, x, _ = begun(schedule, 2)
    clean = begun(schedule, 2)[0].field.draw(2, torch.Generator().manual_seed(9), x)

    def know(state, t, resolution):
        return process.target(clean, resolution)

    steps = select_steps(schedule, 12, sampler=Sampler(changes="network"))
    found = {}
    for changes in ("network", "corrected"):
        seen = {}
        sample_whitened(
            know,
            process,
            x,
            steps,
            spectrum=SPECTRUM,
            generator=torch.Generator().manual_seed(1),
            changes=changes,
            callback=lambda s, seen=seen: seen.__setitem__(s.s, s.x),
        )
        found[changes] = seen
    change = max(schedule.changes)
    before, after = (found[c][change - 1] for c in ("network", "corrected"))
    torch.testing.assert_close(before, after)  # up to the arrival both are the same
    later = steps[steps.index(change - 1) + 1]
    assert (found["network"][later] - found["corrected"][later]).abs().max() > 1e-6


def test_what_does_not_fit_is_refused():
    denoise, process, x, _ = begun(SCHEDULES["jump"], 2)
    small = Spectrum.power_law(8, 2.2, channels=3)
    assert "resolution 8" in refusal(lambda: sample_whitened(denoise, process, x, spectrum=small))
    grey = Spectrum.power_law(16, 2.2)
    assert "has 1 channels, the images 3" in refusal(
        lambda: sample_whitened(denoise, process, x, spectrum=grey)
    )
    assert "has 3 channels, the images 1" in refusal(lambda: denoise(x[:, :1], 999, 16))
    mixing = ScaleSpaceProcess(derive_schedule(SPECTRUM, NOISE, (16, 8), "snr", operator="box"))
    state = torch.zeros(1, 3, 8, 8)
    assert "operator 'box'" in refusal(
        lambda: sample_whitened(denoise, mixing, state, spectrum=SPECTRUM)
    )
    attenuated = ScaleSpaceProcess(SCHEDULES["attenuated"])
    assert "leave the option out" in refusal(
        lambda: sample_whitened(
            denoise, attenuated, torch.zeros(1, 3, 4, 4), spectrum=SPECTRUM, changes="network"
        )
    )
