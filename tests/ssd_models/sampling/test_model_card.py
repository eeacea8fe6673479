"""The card of a model: metadata that the hub reads, what it was trained on, and an example that
runs."""

import re
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from ssd_models import ScaleSpacePipeline
from theory import NoiseSchedule, Spectrum, derive_schedule

SPECTRUM = Spectrum.power_law(16, 2.2, channels=3)


def saved(folder, random_unet, source="photos", **options):
    spectrum = replace(SPECTRUM, count=1234, meta={**SPECTRUM.meta, "source": source})
    schedule = derive_schedule(
        spectrum, NoiseSchedule.linear(50), levels=(16, 8), tolerance=0.3, criterion="snr"
    )
    names = ("cat|x", "dog") if options.get("num_classes") else None
    pipeline = ScaleSpacePipeline(random_unet(std=0.05, **options), schedule, spectrum, names)
    pipeline.save_pretrained(folder)
    return schedule, ModelCard.load(folder / "README.md")


@pytest.mark.parametrize("options", [{}, {"num_classes": 2}])
def test_a_card_says_what_the_model_is_and_its_example_runs(options, tmp_path, random_unet):
    schedule, card = saved(tmp_path / "run" / "model", random_unet, **options)
    assert card.data.library_name == "scale-space-diffusion"
    assert card.data.pipeline_tag == "unconditional-image-generation"
    assert "16 × 16 pixels, 3 channels" in card.text
    assert "| photos (spectrum of 1,234 images) |" in card.text
    (change,) = schedule.changes
    assert f"16 (steps 0 to {change - 1}), 8 (steps {change} to 49)" in card.text
    assert ("| classes | cat\\|x, dog |" in card.text) == bool(options)
    (code,) = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
    assert '"hf:OWNER/NAME"' in code
    scope = {}
    exec(code.replace("hf:OWNER/NAME", (tmp_path / "run").as_posix()), scope)
    assert [image.size for image in scope["images"]] == [(16, 16)] * 4


@pytest.mark.parametrize(
    ("source", "told", "datasets"),
    [
        ("/home/someone/faces", "| faces (", None),
        (r"C:\Users\someone\faces.zip", "| faces.zip (", None),
        ("hf:nielsr/CelebA-faces:train", "| hf:nielsr/CelebA-faces:train (", "nielsr/CelebA-faces"),
        ("a\n| b", r"| a \| b (", None),
    ],
)
def test_a_card_names_the_data_and_not_where_they_lay(
    source, told, datasets, tmp_path, random_unet
):
    _, card = saved(tmp_path, random_unet, source)
    assert told in card.text
    assert "someone" not in card.content
    assert card.data.datasets == (datasets and [datasets])


def test_a_card_that_is_there_stays(tmp_path, random_unet):
    (tmp_path / "README.md").write_text("My own words.")
    saved(tmp_path, random_unet)
    assert (tmp_path / "README.md").read_text() == "My own words."
