"""The Flexi-UNet: the public implementation's outputs, what a path runs, and model files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ssd_models import load_official
from ssd_models.flexi_unet import FlexiUNet
from theory import InputError

REFERENCE = Path(__file__).parents[1] / "data/flexi_unet_32px_3levels.npz"


def reference_weights(shapes):
    """The weights that the reference was made with: drawn anew, by the order of their names."""
    weights = {}
    for i, name in enumerate(sorted(shapes)):
        shape = shapes[name]
        values = np.random.RandomState(i).randn(*shape)
        if len(shape) > 1:
            values = values / np.sqrt(np.prod(shape[1:]))
        else:
            values = 0.1 * values + (1.0 if name.endswith("weight") else 0.0)
        weights[name] = torch.from_numpy(values.astype(np.float32))
    return weights


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    with np.load(REFERENCE) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(str(arrays.pop("meta")))
    path = tmp_path_factory.mktemp("official") / "model.pt"
    torch.save({"model": reference_weights(meta["shapes"]), "step": 7}, path)
    return path, arrays


def test_the_public_networks_outputs_are_reproduced(official):
    path, arrays = official
    unet, scheduler = load_official(path, image_size=32, num_levels=3)
    assert scheduler.schedule.levels == (32, 16, 8)
    for name in [name for name in arrays if name.startswith("x_")]:
        t, r_out = int(name.split("_")[1][1:]), int(name.rsplit("_s", 1)[1])
        with torch.no_grad():
            y = unet(torch.from_numpy(arrays[name]), t, r_out).sample.numpy()
        expected = arrays["y" + name[1:]]
        error = np.abs(y - expected).max() / np.abs(expected).max()
        assert error < 1e-4, name


def test_files_that_are_no_checkpoint_are_refused(official, tmp_path):
    path, _ = official
    weights = torch.load(path, weights_only=True)["model"]
    weights["surplus"] = weights.pop("out.0.weight")
    torch.save({"model": weights}, tmp_path / "names.pt")
    with pytest.raises(InputError, match=r"2 weights do not fit .*out\.0\.weight missing"):
        load_official(tmp_path / "names.pt", 32, 3)
    (tmp_path / "text.pt").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("text.pt", "list.pt", "none.pt"):
        with pytest.raises(InputError, match=name):
            load_official(tmp_path / name, 32, 3)


def test_the_papers_network_has_its_size():
    with torch.device("meta"):
        unet = FlexiUNet.from_preset("paper-64", variant="paper", num_levels=4)
    assert sum(p.numel() for p in unet.parameters()) / 1e6 == pytest.approx(92.26, abs=0.005)


@pytest.mark.parametrize("path", [(16, 16), (8, 8), (4, 4), (4, 8), (8, 16), (4, 16)])
def test_paths_give_their_resolution_and_run_less(path, random_unet):
    unet = random_unet()
    unet(torch.randn(2, 3, path[0], path[0]), 3, path[1]).sample.sum().backward()
    used = {name for name, p in unet.named_parameters() if p.grad is not None}
    assert unet(torch.randn(2, 3, path[0], path[0]), 3, path[1]).sample.shape[-1] == path[1]
    # Encoder blocks above the input's level and decoder blocks above the output's do not run.
    first_encoder = {16: 1, 8: 3, 4: 5}[path[0]]
    last_decoder = {16: 5, 8: 3, 4: 1}[path[1]]
    assert {int(n.split(".")[1]) for n in used if n.startswith("input_blocks")} == {
        0,
        *range(first_encoder, 6),
    }
    decoders = {int(n.split(".")[1]) for n in used if n.startswith("output_blocks")}
    assert decoders == set(range(last_decoder + 1))


def test_every_parameter_of_the_default_is_trained_by_some_path(random_unet):
    unet = random_unet()
    for small_r, large_r in unet.paths:
        unet(torch.randn(1, 3, small_r, small_r), 3, large_r).sample.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in unet.parameters())


def test_a_fresh_network_predicts_zero():
    unet = FlexiUNet(image_size=8, base_channels=8, channel_mult=(1, 2), attention_resolutions=())
    assert (unet(torch.randn(1, 3, 4, 4), 5, 8).sample == 0).all()


def test_classes_change_the_prediction(random_unet):
    unet = random_unet(num_classes=3)
    x = torch.randn(2, 3, 8, 8)
    a = unet(x, 1, 8, torch.tensor([0, 1])).sample
    b = unet(x, 1, 8, torch.tensor([0, 2])).sample
    torch.testing.assert_close(a[0], b[0])
    assert not torch.allclose(a[1], b[1])
    with pytest.raises(InputError, match="class_labels"):
        unet(x, 1, 8)


def test_model_files_round_trip(tmp_path, random_unet):
    unet = random_unet()
    unet.save_pretrained(tmp_path / "m")
    loaded = FlexiUNet.from_pretrained(str(tmp_path / "m"))
    x = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(loaded(x, 4, 16).sample, unet(x, 4, 16).sample)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image_size": 10}, "multiple of"),
        ({"num_levels": 9}, "num_levels is 9"),
        ({"variant": "x"}, "variant is 'x'"),
        ({"num_heads": 3}, "heads"),
    ],
)
def test_impossible_shapes_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        FlexiUNet(**{"image_size": 16, "base_channels": 8, "channel_mult": (1, 2, 2), **options})


def test_impossible_paths_are_refused(random_unet):
    with pytest.raises(InputError, match=r"no path from resolution 8 .* to 4"):
        random_unet()(torch.randn(1, 3, 8, 8), 0, 4)
