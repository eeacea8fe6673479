"""Apple's GPUs have no float64: nothing on them may need it.

PyTorch's meta device, whose tensors have shapes but no values, stands in for one.
"""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ssd_models.diffusion import constants
from ssd_models.diffusion.gaussian import GaussianDenoiser
from ssd_models.diffusion.process import ScaleSpaceProcess
from ssd_models.training.objective import DenoisingLoss
from theory import NoiseSchedule, ResolutionSchedule, Spectrum

SPECTRUM = Spectrum.power_law(16, 2.2, pixel_variance=0.03, channels=3)
NOISE = NoiseSchedule.linear(40)
BLUR = np.linspace(0, 3, 40) ** 2


class NoFloat64(TorchDispatchMode):
    """Refuses float64 on the stand-in."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                assert tensor.dtype != torch.float64, function
        return found


@pytest.fixture
def draw(monkeypatch):
    """Draws tensors on the stand-in."""
    monkeypatch.setattr(constants, "_WITHOUT_FLOAT64", {"meta"})
    with NoFloat64():
        yield lambda *shape: torch.randn(*shape, device="meta")


def process(operator, blur=None):
    levels = np.repeat((16, 8, 4), [20, 10, 10])
    return ScaleSpaceProcess(
        ResolutionSchedule.from_noise(levels, NOISE, "matched", operator, blur)
    )


@pytest.mark.parametrize("blur", [None, BLUR], ids=["sharp", "blur"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("operator", ["dct", "box"])
def test_chains_with_the_exact_denoiser(operator, eta, blur, draw):
    made = process(operator, blur)
    denoise = GaussianDenoiser(SPECTRUM, made)
    x = draw(2, 3, 4, 4)
    for t, s in ((39, 31), (31, 25), (25, 3)):
        prediction = denoise(x, t, made.resolution(s))
        x = made.posterior_sample(made.from_target(prediction, s), x, t, s, eta)
        assert x.is_meta
    assert x.shape == (2, 3, 16, 16)


@pytest.mark.parametrize("operator", ["dct", "box"])
def test_a_training_loss_and_its_gradient(operator, random_unet, draw):
    with torch.device("meta"):
        unet = random_unet()
    t, noise = torch.tensor([25, 21]), draw(2, 3, 8, 8)
    made = process(operator)
    loss_of = DenoisingLoss(made, np.ones(made.schedule.num_steps))
    terms = loss_of(unet, draw(2, 3, 16, 16), t, noise)
    terms.loss.backward()
    assert torch.stack([term.detach() for term in terms]).is_meta
