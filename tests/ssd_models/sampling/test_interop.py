"""Models in the form of diffusers."""

import sys

import pytest
import torch

from ssd_models import ScaleSpacePipeline
from ssd_models.sampling.interop import DiffusersUNet, to_diffusers
from theory import InputError, NoiseSchedule, ResolutionSchedule, Spectrum, derive_schedule

FULL = ResolutionSchedule.full_resolution(16, NoiseSchedule.linear(100))


def pipeline(random_unet, schedule=FULL, **options):
    return ScaleSpacePipeline(random_unet(**options), schedule)


@pytest.mark.parametrize("time_input", ["step", "logsnr"])
def test_the_network_takes_steps(random_unet, time_input):
    unet = random_unet(num_classes=3, time_input=time_input).eval()
    wrapped = DiffusersUNet(unet, FULL)
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    pipe = ScaleSpacePipeline(unet, FULL)
    with torch.no_grad():
        for labels in (None, torch.tensor([2, 0])):
            expected = pipe.denoiser(labels if labels is None else labels.tolist())(x, 70, 16)
            assert torch.allclose(wrapped(x, 70, labels).sample, expected, atol=1e-6)
            (found,) = wrapped(x, torch.tensor([70, 70]), labels, return_dict=False)
            assert torch.allclose(found, expected, atol=1e-6)
        assert wrapped.to(torch.bfloat16).dtype == torch.bfloat16
        assert wrapped(x.bfloat16(), 70).sample.dtype == torch.bfloat16


@pytest.mark.parametrize("base", ["linear", "cosine"])
@pytest.mark.parametrize("count", [10, 100])
def test_diffusers_draws_the_same_images(random_unet, base, count):
    pytest.importorskip("diffusers")
    noise = NoiseSchedule.named(base, 100, None)
    pipe = pipeline(random_unet, ResolutionSchedule.full_resolution(16, noise))
    theirs = to_diffusers(pipe)
    theirs.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    drawn = theirs(4, generator, num_inference_steps=count, output_type="np").images
    steps = theirs.scheduler.timesteps.tolist()
    assert len(steps) == count
    generator = torch.Generator().manual_seed(0)
    ours = pipe(4, None, generator=generator, timesteps=steps, sampler="eta", output_type="pt")
    images = (ours.images / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    assert images.std() > 0.05
    assert images.numpy() == pytest.approx(drawn, abs=1e-4)


def test_other_schedulers_of_diffusers_take_it(random_unet):
    diffusers = pytest.importorskip("diffusers")
    theirs = to_diffusers(pipeline(random_unet))
    theirs.set_progress_bar_config(disable=True)
    ancestral = diffusers.DDPMPipeline(
        theirs.unet, diffusers.DDPMScheduler.from_config(theirs.scheduler.config)
    )
    ancestral.set_progress_bar_config(disable=True)
    assert len(ancestral(2, num_inference_steps=5).images) == 2
    solver = diffusers.DPMSolverMultistepScheduler.from_config(theirs.scheduler.config)
    solver.set_timesteps(5)
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for t in solver.timesteps:
            x = solver.step(theirs.unet(x, t).sample, t, x).prev_sample
    assert torch.isfinite(x).all()


def test_what_has_no_such_form_is_refused(random_unet):
    spectrum = Spectrum.power_law(16, 2.0, channels=3)
    levels = derive_schedule(spectrum, NoiseSchedule.linear(100), [16, 8], "snr")
    with pytest.raises(InputError, match="changes its resolution, which no scheduler of diffusers"):
        to_diffusers(pipeline(random_unet, levels))
    fading = derive_schedule(spectrum, NoiseSchedule.linear(100), [16])
    assert fading.attenuation is not None
    with pytest.raises(InputError, match="blurs or fades, which no scheduler of diffusers"):
        to_diffusers(pipeline(random_unet, fading))


def test_a_missing_package_is_said(random_unet, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(InputError, match=r'pip install "scale-space-diffusion\[diffusers\]"'):
        to_diffusers(pipeline(random_unet))
