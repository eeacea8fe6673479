"""The public implementation: its network's outputs, and its checkpoints as model directories."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ssd_models import FlexiUNet, ScaleSpacePipeline, load_official
from ssd_models.cli import main
from ssd_models.sampling.official import official_image_size
from theory import InputError

REFERENCE = Path(__file__).parents[2] / "data/flexi_unet_32px_3levels.npz"


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
    said = r"weights do not fit .*1 missing \(out\.0\.weight\); 1 surplus \(surplus\)"
    with pytest.raises(InputError, match=said):
        load_official(tmp_path / "names.pt", 32, 3)
    (tmp_path / "text.pt").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"model": {"input_blocks.0.0.weight": torch.zeros(3)}}, tmp_path / "odd.pt")
    for name in ("text.pt", "list.pt", "none.pt", "odd.pt"):
        with pytest.raises(InputError, match=name):
            load_official(tmp_path / name, 32, 3)


def published(unet):
    """State dict of a network of the paper's variant as the public implementation names it.

    Adapters go by resolution there; levels of one width share theirs, which is saved for each.
    """
    base, state = unet.skip_widths[0], {}
    entries = unet.skip_widths[:: unet.stages_per_level]
    exits = [int(base * m) for m in unet._hub_mixin_config["channel_mult"]]
    for name, tensor in unet.state_dict().items():
        if not name.startswith("adapters"):
            state[name] = tensor
            continue
        kind, width, what = name.split(".")
        for level, found in enumerate(entries if kind == "adapters_in" else exits):
            if found == int(width):
                state[f"{kind}.{unet.image_size >> level}.{what}"] = tensor
    return state


@pytest.mark.parametrize(("size", "levels", "classes"), [(64, 2, 5), (128, 5, None)])
def test_checkpoints_become_model_directories_that_sample(size, levels, classes, tmp_path, capsys):
    torch.manual_seed(0)
    unet = FlexiUNet.from_preset(
        f"paper-{size}", variant="paper", base_channels=32, num_levels=levels, num_classes=classes
    )
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    state = published(unet)
    shared = {name.split(".")[1] for name in state if name.startswith("adapters_in")}
    assert len(shared) == {64: 2, 128: 2}[size]
    path = tmp_path / f"ssd_{size}res_celeba_{levels}levels_ema_0.9999_1.pt"
    torch.save({"model": state, "step": 1}, path)
    assert official_image_size(path) == size

    main(["import-official", str(path), "-o", str(tmp_path / "model")])
    assert f"resolutions {size}, {size // 2}" in capsys.readouterr().out
    pipeline = ScaleSpacePipeline.from_pretrained(tmp_path / "model")
    assert pipeline.scheduler.schedule.levels == tuple(size >> i for i in range(levels))
    x = torch.randn(1, 3, size // 2, size // 2)
    labels = None if classes is None else torch.tensor([2])
    for r_out in (size // 2, size):
        torch.testing.assert_close(
            pipeline.unet(x, 800, r_out, labels).sample, unet(x, 800, r_out, labels).sample
        )
    options = {} if classes is None else {"class_labels": 2}
    images = pipeline(1, levels + 1, output_type="np", **options).images
    assert images.shape == (1, size, size, 3)


def test_what_cannot_be_known_is_asked_for(official, tmp_path, capsys):
    path, _ = official
    with pytest.raises(SystemExit):
        main(["import-official", str(path), "-o", str(tmp_path / "model")])
    assert "give --levels" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"surplus|missing|another shape"):
        load_official(path, 64, 3)
    weights = torch.load(path, weights_only=True)["model"]
    weights["middle_block.0.out_layers.3.weight"] = torch.zeros(8, 8, 3, 3)
    torch.save({"model": weights}, tmp_path / "shape.pt")
    said = r"1 of another shape \(middle_block.0.out_layers.3.weight \(8, 8, 3, 3\) in place of"
    with pytest.raises(InputError, match=said):
        load_official(tmp_path / "shape.pt", 32, 3)
    assert not (tmp_path / "model").exists()
