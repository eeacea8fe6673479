"""Steps, scheduler and pipeline."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import command_refusal

from ssd_models import ScaleSpacePipeline, ScaleSpaceScheduler
from ssd_models.cli import main
from ssd_models.diffusion.gaussian import GaussianField
from ssd_models.sampling.whitened import sample_whitened
from theory import InputError, NoiseSchedule, Spectrum, derive_schedule
from theory.oracle.steps import select_steps
from theory.support.files import new_folder

SCHEDULE = derive_schedule(
    Spectrum.power_law(16, 2.2),
    NoiseSchedule.linear(200),
    levels=(16, 8, 4),
    tolerance=0.3,
    criterion="snr",
)


def test_given_steps_are_used_exactly_or_refused():
    scheduler = ScaleSpaceScheduler(SCHEDULE)
    first, second = SCHEDULE.changes
    steps = [199, second, second - 1, first, first - 1, 0]
    scheduler.set_timesteps(timesteps=steps)
    assert scheduler.timesteps.tolist() == steps
    assert [scheduler.out_resolution(t) for t in steps] == [4, 8, 8, 16, 16, 16]
    with pytest.raises(InputError, match=rf"\[{second - 1}\] are missing"):
        scheduler.set_timesteps(timesteps=[199, second, first, first - 1])
    with pytest.raises(InputError, match="give last_snr or timesteps, not both"):
        scheduler.set_timesteps(timesteps=steps, last_snr=100.0)
    with pytest.raises(InputError, match="201 sampling steps"):
        scheduler.set_timesteps(201)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_images_depend_on_the_seed_alone(eta, random_unet):
    pipeline = ScaleSpacePipeline(random_unet(std=0.05), SCHEDULE)

    def draw(seed, **options):
        generator = torch.Generator().manual_seed(seed)
        return pipeline(3, 8, eta, generator, output_type="np", **options).images

    a = draw(1)
    assert a.shape == (3, 16, 16, 3)
    assert a.dtype == np.uint8
    torch.randn(5)  # the global generator plays no part
    np.testing.assert_array_equal(draw(1), a)
    assert (draw(2) != a).any()
    assert draw(1, max_batch=2).shape == a.shape


def test_the_end_is_the_clean_prediction_and_states_grow(random_unet):
    seen = []
    pipeline = ScaleSpacePipeline(random_unet(std=0.05), SCHEDULE)
    images = pipeline(
        2,
        8,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
        callback_on_step_end=lambda *given: seen.append(given),
    ).images
    pipes, indices, steps, tensors = zip(*seen, strict=True)
    assert set(pipes) == {pipeline}
    assert indices == tuple(range(len(seen)))
    assert list(steps) == pipeline.scheduler.timesteps.tolist()
    torch.testing.assert_close(images, tensors[-1]["pred_original_sample"].clamp(-1, 1))
    sizes = [each["latents"].shape[-1] for each in tensors]
    assert sizes == sorted(sizes)
    assert set(sizes) == {4, 8, 16}


@pytest.mark.parametrize(
    "options", [{}, {"sampler": "dpmpp_2m"}, {"eta": 1.0}, {"changes": "free"}]
)
def test_a_callback_changes_the_state(options, random_unet):
    pipeline = ScaleSpacePipeline(random_unet(), SCHEDULE, spectrum())

    def draw(callback):
        generator = torch.Generator().manual_seed(0)
        return pipeline(
            2, 8, generator=generator, output_type="pt", callback_on_step_end=callback, **options
        ).images

    def emptied(pipe, index, t, given):
        return {"latents": torch.zeros_like(given["latents"])} if t else None

    def ended(pipe, index, t, given):
        return {} if t else {"latents": torch.full_like(given["latents"], 0.25)}

    images = draw(emptied)
    with torch.no_grad():
        expected = pipeline.denoiser()(torch.zeros(2, 3, 16, 16), 0, 16).clamp(-1, 1)
    torch.testing.assert_close(images, expected)
    assert (draw(lambda *_: None) - expected).abs().max() > 1e-2
    assert (draw(ended) == 0.25).all()
    with pytest.raises(InputError, match=r"latents have shape \(2, 3\)"):
        draw(lambda *_: {"latents": torch.zeros(2, 3)})


@pytest.mark.parametrize(
    ("with_spectrum", "options"),
    [
        (True, {}),
        (True, {"sampler": "dpmpp_2m"}),
        (True, {"eta": 1.0, "spectral_variance": True}),
        (False, {}),
    ],
)
def test_an_image_depends_on_its_own_generator(options, with_spectrum, random_unet):
    pipeline = ScaleSpacePipeline(random_unet(), SCHEDULE, spectrum() if with_spectrum else None)

    def draw(*seeds):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return pipeline(generator=generators, output_type="pt", **options).images

    images = draw(3, 1, 4)
    assert images.shape == (3, 3, 16, 16)
    assert (images[0] - images[1]).abs().max() > 1e-2
    close = {"rtol": 0, "atol": 1e-3}
    torch.testing.assert_close(draw(2, 4), torch.cat([draw(2), images[2:]]), **close)
    one = torch.Generator().manual_seed(1)
    torch.testing.assert_close(
        pipeline(generator=one, output_type="pt", **options).images, images[1:2], **close
    )
    with pytest.raises(InputError, match="generator: 2 of them for 3 images"):
        pipeline(3, 8, generator=[one, one])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_pipeline_moves_and_says_where_it_is(dtype, random_unet):
    pipeline = ScaleSpacePipeline(random_unet(std=0.05), SCHEDULE)

    def draw():
        generator = torch.Generator().manual_seed(0)
        return pipeline(2, 8, generator=generator, output_type="pt").images

    expected = draw()
    assert (pipeline.device, pipeline.dtype) == (torch.device("cpu"), torch.float32)
    assert pipeline.to("cpu", dtype) is pipeline
    assert pipeline.dtype == dtype
    images = draw()
    assert images.dtype == torch.float32
    images -= expected  # an ordinary tensor, that may be written to
    assert images.abs().max() < 0.1
    assert pipeline.to(torch.float32).to(device="cpu").dtype == torch.float32


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("image_size", [None, (16, 24)])
def test_images_have_any_number_of_channels(channels, image_size, random_unet):
    scheduler = ScaleSpaceScheduler(SCHEDULE, image_size)
    unet = random_unet(std=0.05, in_channels=channels)
    pipeline = ScaleSpacePipeline(unet, scheduler, spectrum(channels))
    height, width = image_size or (16, 16)
    found = {
        kind: pipeline(2, 6, generator=torch.Generator().manual_seed(0), output_type=kind).images
        for kind in ("pt", "np", "pil")
    }
    assert found["pt"].shape == (2, channels, height, width)
    assert found["np"].shape == (2, height, width, channels)
    np.testing.assert_allclose(
        found["np"].transpose(0, 3, 1, 2) / 127.5 - 1, found["pt"], rtol=0, atol=1 / 127
    )
    for picture, image in zip(found["pil"], found["np"], strict=True):
        assert picture.mode == ("RGB" if channels == 3 else "L")
        shown = image if channels == 3 else np.hstack(list(image.transpose(2, 0, 1)))
        np.testing.assert_array_equal(np.asarray(picture), shown)


def test_a_compiled_network_samples_the_same(random_unet):
    small = {"channel_mult": (1, 1), "attention_resolutions": ()}
    plan = derive_schedule(
        Spectrum.power_law(16, 2.2),
        NoiseSchedule.linear(50),
        levels=(16, 8),
        tolerance=0.3,
        criterion="snr",
    )
    pipeline = ScaleSpacePipeline(random_unet(std=0.05, **small), plan)

    def draw(count):
        generator = torch.Generator().manual_seed(0)
        return pipeline(count, 6, generator=generator, output_type="pt", max_batch=2).images

    expected = draw(2), draw(3)
    torch._dynamo.reset()
    with torch._dynamo.config.patch(recompile_limit=2, fail_on_recompile_limit_hit=True):
        pipeline.unet = torch.compile(pipeline.unet, backend="eager", fullgraph=True)
        torch.testing.assert_close((draw(2), draw(3)), expected)
    assert pipeline.dtype == torch.float32


def spectrum(channels=3):
    return Spectrum.power_law(16, 2.2, channels=channels)


def test_the_batch_that_runs_at_once_changes_nothing(random_unet):
    pipeline = ScaleSpacePipeline(random_unet(std=0.05), SCHEDULE, spectrum())
    whole, split = (
        pipeline(
            5,
            8,
            1.0,
            torch.Generator().manual_seed(0),
            output_type="pt",
            max_batch=max_batch,
        ).images
        for max_batch in (64, 2)
    )
    torch.testing.assert_close(whole, split, rtol=1e-4, atol=1e-4)


def test_options_reach_the_sampler(random_unet):
    unet = random_unet(std=0.05)
    pipeline = ScaleSpacePipeline(unet, SCHEDULE, spectrum())

    def draw(steps=10, eta=0.0, **options):
        generator = torch.Generator().manual_seed(0)
        images = pipeline(2, steps, eta, generator, output_type="pt", **options).images
        assert images.shape == (2, 3, 16, 16)
        return images, pipeline.scheduler.timesteps.tolist()

    images, steps = draw()
    denoise = pipeline.denoiser()
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        x = pipeline.scheduler.initial_state(2, 3, generator, field=GaussianField(spectrum()))
        expected = sample_whitened(
            denoise,
            pipeline.scheduler.process,
            x,
            steps,
            spectrum=spectrum(),
            generator=generator,
        )
    # Whitened where eta is 0 and the spectrum is known.
    torch.testing.assert_close(images, expected.clamp(-1, 1), rtol=0, atol=1e-4)
    seen = [steps, draw(spacing="edm")[1], draw(spacing="planned")[1], draw(changes="free")[1]]
    assert len({tuple(s) for s in seen}) == 4
    early = draw(last_snr=20.0)[1]
    snr = pipeline.scheduler.schedule.base_snr
    assert len(early) == len(steps)
    assert snr[early[-1] + 1] < 20 <= snr[early[-1]]
    others = [
        draw(**others)[0]
        for others in (
            {"sampler": "dpmpp_2m"},
            {"sampler": "eta"},
            {"eta": 1.0},
            {"eta": 1.0, "spectral_variance": True},
        )
    ]
    for i, a in enumerate([images, *others]):
        assert all((a - b).abs().max() > 1e-3 for b in others[i:])
    states = list(pipeline.trajectory(2, 10, generator=torch.Generator().manual_seed(0)))
    assert [state.t for state in states] == steps
    torch.testing.assert_close(states[-1].x.clamp(-1, 1), images)


def test_options_that_cannot_be_met_are_refused(random_unet):
    pipeline = ScaleSpacePipeline(random_unet(std=0.05), SCHEDULE)
    for options, said in (
        ({"spectral_variance": True}, "needs the spectrum"),
        ({"spacing": "planned"}, "needs the spectrum"),
        ({"sampler": "dpmpp_2m", "eta": 1.0}, "sampler 'dpmpp_2m': is deterministic"),
        ({"sampler": "whitened"}, "sampler 'whitened': needs the training data's spectrum"),
        ({"sampler": "no"}, "sampler 'no': choose from whitened"),
        ({"eta": -0.1}, "eta -0.1"),
        ({"changes": "no"}, "changes 'no'"),
        ({"output_type": "jpg"}, "output_type 'jpg'"),
        ({"last_snr": 0.0}, "last_snr 0: states of full resolution have"),
        ({"max_batch": 0}, "at least 1"),
    ):
        with pytest.raises(InputError, match=said):
            pipeline(1, 8, **options)
    with pytest.raises(InputError, match="1 channels, the network of 16 px and 3"):
        ScaleSpacePipeline(random_unet(std=0.05), SCHEDULE, spectrum(1))
    with torch.no_grad():
        next(pipeline.unet.parameters()).fill_(torch.inf)
    with pytest.raises(InputError, match="model output at step 199: is not finite"):
        pipeline(1, 8)


@pytest.mark.parametrize("with_spectrum", [True, False])
def test_model_directories_round_trip(with_spectrum, tmp_path, random_unet):
    own = spectrum() if with_spectrum else None
    pipeline = ScaleSpacePipeline(random_unet(std=0.05), SCHEDULE, own)
    pipeline.save_pretrained(tmp_path / "model")
    names = {p.name for p in (tmp_path / "model").iterdir()}
    assert names >= {"config.json", "model.safetensors", "schedule.json"}
    assert ("spectrum.npz" in names) == with_spectrum
    loaded = ScaleSpacePipeline.from_pretrained(tmp_path / "model")
    assert (loaded.spectrum is not None) == with_spectrum
    images = [
        p(2, 6, generator=torch.Generator().manual_seed(0), output_type="np").images
        for p in (pipeline, loaded)
    ]
    np.testing.assert_array_equal(*images)
    assert loaded(1, 6).images[0].size == (16, 16)
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors is missing"):
        ScaleSpacePipeline.from_pretrained(tmp_path / "model")


def test_the_end_of_chains_is_stored_with_a_model(tmp_path, random_unet):
    ScaleSpacePipeline(random_unet(std=0.05), SCHEDULE, spectrum(), None, 20.0).save_pretrained(
        tmp_path
    )
    pipeline = ScaleSpacePipeline.from_pretrained(tmp_path)
    assert pipeline.last_snr == 20

    def end(**options):
        *_, last = pipeline.trajectory(1, **options)
        return last.t

    assert end(num_inference_steps=8) == select_steps(SCHEDULE, 8, last_snr=20.0)[-1] > 0
    assert end(num_inference_steps=8, last_snr=math.inf) == 0
    assert end(num_inference_steps=8, last_snr=50.0) < end(num_inference_steps=8)
    # Their own end:
    assert end(num_inference_steps=8, spacing="planned") == 0
    assert end(timesteps=select_steps(SCHEDULE, 8)) == 0

    for content, said in (
        ('{"last_snr": "a"}', "must be a number"),
        ('{"last_snr": 1e9}', "states of full resolution have"),
        ("[1]", "must be an object"),
        ("{", "it must hold options of sampling"),
    ):
        (tmp_path / "sampling.json").write_text(content)
        with pytest.raises(InputError, match=rf"sampling\.json: .*{said}"):
            ScaleSpacePipeline.from_pretrained(tmp_path)
    pipeline.last_snr = None
    pipeline.save_pretrained(tmp_path)
    assert ScaleSpacePipeline.from_pretrained(tmp_path).last_snr is None
    (tmp_path / "sampling.json").unlink()  # written before this file existed
    assert ScaleSpacePipeline.from_pretrained(tmp_path).last_snr is None
    with pytest.raises(InputError, match=r"last_snr 1e\+09: states of full resolution"):
        ScaleSpacePipeline(random_unet(std=0.05), SCHEDULE, last_snr=1e9)


def test_network_and_schedule_must_fit(random_unet):
    other = derive_schedule(
        Spectrum.power_law(32, 2.2), NoiseSchedule.linear(200), (32, 16), criterion="snr"
    )
    with pytest.raises(InputError, match=r"needs resolutions \[32\]"):
        ScaleSpacePipeline(random_unet(std=0.05), other)


@pytest.mark.parametrize("image_size", [(16, 24), (20, 16)])
def test_images_need_not_be_square(image_size, random_unet):
    scheduler = ScaleSpaceScheduler(SCHEDULE, image_size)
    pipeline = ScaleSpacePipeline(random_unet(std=0.05), scheduler)
    for options in ({}, {"eta": 1.0}, {"changes": "free"}):
        images = pipeline(2, 8, output_type="np", **options).images
        assert images.shape == (2, *image_size, 3)
    pipeline.spectrum = spectrum()
    with pytest.raises(InputError, match="spectrum: has resolution 16, the process images of"):
        pipeline(2, 8, 1.0, spectral_variance=True)


def test_a_folder_of_samples_has_one_writer(tmp_path, random_unet, capsys):
    model, output = str(tmp_path / "model"), str(tmp_path / "samples")
    ScaleSpacePipeline(random_unet(std=0.05), SCHEDULE).save_pretrained(model)
    command = ["sample", model, "-n", "2", "--steps", "6", "-o", output]
    with new_folder(output):
        assert "another process writes there" in command_refusal(command, capsys)
    main(command)
    assert sorted(path.name for path in Path(output).iterdir()) == ["000000.png", "000001.png"]
