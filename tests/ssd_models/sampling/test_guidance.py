"""Classes in sampling: labels by name or number, classifier-free guidance, and what is refused."""

import json

import numpy as np
import pytest
import torch

from ssd_models import FlexiUNet, ScaleSpacePipeline
from theory import InputError, NoiseSchedule, ResolutionSchedule, Spectrum, derive_schedule

SCHEDULE = derive_schedule(
    Spectrum.power_law(16, 2.2),
    NoiseSchedule.linear(200),
    levels=(16, 8),
    tolerance=0.3,
    criterion="snr",
)
NAMES = ("cat", "dog", "bird")


@pytest.fixture
def pipeline(random_unet):
    return ScaleSpacePipeline(random_unet(num_classes=3), SCHEDULE, class_names=NAMES)


def test_guidance_is_linear_between_no_class_and_class(pipeline):
    x, labels = torch.randn(3, 3, 8, 8), torch.tensor([2, 0, 1])
    none = torch.full((3,), -1)
    t = SCHEDULE.num_steps - 1
    with torch.no_grad():
        conditional = pipeline.unet(x, t, 8, labels).sample
        unconditional = pipeline.unet(x, t, 8, none).sample

        def guided(scale, labels=labels, **options):
            return pipeline.denoiser(labels, guidance_scale=scale, **options)(x, t, 8)

        assert not torch.allclose(conditional, unconditional)
        torch.testing.assert_close(guided(1), conditional)
        torch.testing.assert_close(guided(0), unconditional)
        torch.testing.assert_close(guided(1, None), unconditional)
        torch.testing.assert_close(guided(3), 3 * conditional - 2 * unconditional)
        torch.testing.assert_close(guided(3, max_batch=2), guided(3))


def test_guidance_stays_within_its_interval_of_noise_levels(pipeline):
    x, labels = torch.randn(1, 3, 16, 16), torch.tensor([2])
    level = SCHEDULE.base_snr**-0.5  # sigma over alpha at full resolution
    low, high = float(level[40]), float(level[60])
    denoise = pipeline.denoiser(labels, guidance_scale=2, guidance_interval=(low, high))
    plain, always = pipeline.denoiser(labels), pipeline.denoiser(labels, guidance_scale=2)
    with torch.no_grad():
        for t in (39, 40, 50, 60, 61):
            expected = (always if 40 <= t <= 60 else plain)(x, t, 16)
            torch.testing.assert_close(denoise(x, t, 16), expected)
            assert not torch.allclose(plain(x, t, 16), always(x, t, 16))


def test_images_take_classes_in_turn_by_name_or_number(pipeline):
    labels = pipeline.class_indices(["dog", 0, "2", -1], 6)
    assert labels.tolist() == [1, 0, 2, -1, 1, 0]
    assert pipeline.class_indices("bird", 2).tolist() == [2, 2]
    assert pipeline.class_indices(torch.tensor([1]), 1).tolist() == [1]

    def draw(**options):
        generator = torch.Generator().manual_seed(0)
        return pipeline(2, 6, generator=generator, output_type="np", **options).images

    by_name = draw(class_labels=["dog", "bird"], guidance_scale=2.0)
    np.testing.assert_array_equal(draw(class_labels=[1, 2], guidance_scale=2.0), by_name)
    assert (draw(class_labels=[1, 2]) != by_name).any()


@pytest.mark.parametrize(
    "labels",
    [
        ["cat", 2],
        (np.int64(0), np.uint8(2)),
        np.array([0, 2]),
        np.array(["cat", "2"]),
        torch.tensor([0, 2], dtype=torch.int32),
        [torch.tensor(0), torch.tensor(2)],
    ],
    ids=["mixed", "numpy numbers", "array", "array of names", "tensor", "list of tensors"],
)
def test_labels_come_in_any_form(labels, pipeline):
    assert pipeline.class_indices(labels).tolist() == [0, 2]
    assert pipeline.class_indices(labels[1], 2).tolist() == [2, 2]
    generator = torch.Generator().manual_seed(0)
    assert len(pipeline(class_labels=labels, generator=generator).images) == 2
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected = pipeline.denoiser(torch.tensor([0, 2]))(x, 150, 8)
        torch.testing.assert_close(pipeline.denoiser(labels)(x, 150, 8), expected)


def test_several_images_of_a_class_stand_together(pipeline):
    def draw(seeds, **options):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return pipeline(None, 6, generator=generators, output_type="pt", **options).images

    images = draw([0, 1, 0, 1], class_labels=["dog", "bird"], num_images_per_prompt=2)
    expected = [draw([0, 1], class_labels=[name, name]) for name in ("dog", "bird")]
    torch.testing.assert_close(images, torch.cat(expected), rtol=0, atol=1e-3)
    assert (expected[0] - expected[1]).abs().max() > 1e-2
    assert len(pipeline(3, 6, class_labels="cat", num_images_per_prompt=2).images) == 6


def test_names_of_classes_stay_with_the_model(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "classes.json").read_text()) == list(NAMES)
    assert ScaleSpacePipeline.from_pretrained(tmp_path).class_names == NAMES
    for text in ("{}", "[1, 2, 3]", "[", '["cat"]'):
        (tmp_path / "classes.json").write_text(text)
        with pytest.raises(InputError, match=r"class_names|class names"):
            ScaleSpacePipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"class_labels": "cow"}, "choose from cat, dog, bird or their numbers 0 to 2"),
        ({"class_labels": 3}, "numbers 0 to 2"),
        ({"class_labels": ["cat", "x"]}, "choose from"),
        ({"class_labels": []}, "choose from"),
        ({"class_labels": "--1"}, "choose from"),
        ({"class_labels": [0, 1, 2]}, "3 for 2 images"),
        ({"class_labels": torch.tensor([0.5])}, "choose from"),
        ({"class_labels": np.array([[0, 1]])}, "choose from"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt and max_batch: must be at least 1"),
        ({"guidance_scale": 2.0}, "needs class labels"),
        ({"class_labels": 0, "guidance_scale": -1.0}, "at least 0"),
        ({"class_labels": 0, "guidance_scale": float("nan")}, "at least 0"),
        ({"class_labels": 0, "guidance_interval": (2.0, 1.0)}, "growing noise levels"),
        ({"class_labels": 0, "guidance_interval": (1.0,)}, "growing noise levels"),
    ],
)
def test_what_means_nothing_is_refused(pipeline, options, said):
    with pytest.raises(InputError, match=said):
        pipeline(2, 6, **options)


def test_a_denoiser_checks_its_options(pipeline):
    for options, said in (
        ({"guidance_scale": 5.0}, "needs class labels"),
        ({"max_batch": 0}, "at least 1"),
    ):
        with pytest.raises(InputError, match=said):
            pipeline.denoiser(**options)
    denoise = pipeline.denoiser(class_labels=["cat"])
    state = torch.zeros(1, 3, 4, 4)
    assert denoise(state, 199, 4).shape == state.shape
    with pytest.raises(InputError, match="1 labels for 4 images"):
        denoise(state.expand(4, -1, -1, -1), 199, 4)


def test_a_model_without_classes_takes_none(random_unet):
    pipeline = ScaleSpacePipeline(random_unet(), SCHEDULE)
    with pytest.raises(InputError, match="this model has no classes"):
        pipeline(1, 6, class_labels=0)
    with pytest.raises(TypeError, match="class_label"):
        pipeline(1, 6, class_label=0)
    with pytest.raises(InputError, match="class_names: 3"):
        ScaleSpacePipeline(random_unet(), SCHEDULE, class_names=NAMES)


def test_log_snr_is_the_full_resolution_chains(random_unet):
    pipeline = ScaleSpacePipeline(random_unet(time_input="logsnr"), SCHEDULE)
    t = SCHEDULE.num_steps - 1  # a state of 8 pixels, whose own snr is four times that
    x, logsnr = torch.randn(1, 3, 8, 8), torch.tensor([SCHEDULE.base_snr[t]]).log()
    with torch.no_grad():
        torch.testing.assert_close(
            pipeline.denoiser()(x, t, 8), pipeline.unet(x, logsnr.float(), 8).sample
        )


def test_a_compiled_network_sees_batches_of_one_size(pipeline):
    import torch._dynamo as dynamo

    x, labels = torch.randn(5, 3, 8, 8), torch.tensor([2, 0, 1, 1, -1])
    denoise = pipeline.denoiser(labels, max_batch=4, guidance_scale=2)  # 10 are 4, 4 and 2
    with torch.no_grad():
        expected = denoise(x, 150, 8)
        pipeline.unet.compile(backend="eager")
        dynamo.reset()
        dynamo.utils.counters.clear()
        torch.testing.assert_close(denoise(x, 150, 8), expected)
        assert dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_on_a_cpu_batches_are_split_where_feature_maps_grow_large(monkeypatch):
    unet = FlexiUNet.from_preset("small-64", base_channels=8)
    schedule = ResolutionSchedule.from_noise(
        np.repeat([64, 8], [50, 50]), NoiseSchedule.linear(100), levels=(64, 32, 16, 8)
    )
    sizes = []
    forward = FlexiUNet.forward

    def recorded(self, x, *rest):
        sizes.append(len(x))
        return forward(self, x, *rest)

    monkeypatch.setattr(FlexiUNet, "forward", recorded)
    denoise = ScaleSpacePipeline(unet, schedule).denoiser(max_batch=200)
    with torch.inference_mode():
        x = torch.randn(130, 3, 64, 64)
        split = denoise(x, 10, 64)
        assert sizes == [128, 2]  # 128 x 2 x 8 x 64 x 64 values are 32 MiB
        torch.testing.assert_close(split[120:], denoise(x[120:], 10, 64), rtol=1e-4, atol=1e-4)
        sizes.clear()
        denoise(torch.randn(130, 3, 8, 8), 90, 8)
        assert sizes == [130]
