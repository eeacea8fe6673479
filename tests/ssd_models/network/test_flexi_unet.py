"""The Flexi-UNet: what a path runs and trains, what it takes, precision, compilation, files."""

import pytest
import torch

from ssd_models.network.flexi_unet import PRESETS, FlexiUNet
from ssd_models.network.path_costs import path_flops, path_parameters
from theory import InputError
from theory.schedule.costs import PAPER_MULTIPLIERS


@pytest.mark.parametrize(("size", "millions"), [(64, 92.26), (128, 95.2), (256, 124.3)])
def test_the_papers_networks_have_their_sizes(size, millions):
    with torch.device("meta"):
        unet = FlexiUNet.from_preset(f"paper-{size}", variant="paper")
    count = sum(p.numel() for p in unet.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.005 if size == 64 else 0.05)


@pytest.mark.parametrize("kind", PRESETS)
@pytest.mark.parametrize("size", PAPER_MULTIPLIERS)
def test_presets_give_all_levels_their_widths(kind, size):
    with torch.device("meta"):
        unet = FlexiUNet.from_preset(f"{kind}-{size}")
    base = PRESETS[kind]["base_channels"]
    assert unet.image_size == size
    assert unet.resolutions[-1] == 8
    middle = unet.middle_block[0].out_layers[3].weight
    assert len(middle) == base * PAPER_MULTIPLIERS[size][-1]
    assert unet.input_blocks[0][0].out_channels == base * PAPER_MULTIPLIERS[size][0]


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


def test_paths_that_raise_the_resolution_cost_less_than_those_that_keep_it():
    with torch.device("meta"):
        unet = FlexiUNet.from_preset("paper-64")
    for small, large in unet.paths:
        if small < large:
            assert path_flops(unet, small, large) < path_flops(unet, large, large)
    full = path_flops(unet, 64, 64)
    assert path_flops(unet, 32, 64) < 0.9 * full  # the paper's runs the whole network
    training = path_flops(unet, 64, 64, training=True)
    assert training == pytest.approx(3 * full, rel=0.02)


def test_a_path_without_skips_leaves_out_their_part_of_a_block(random_unet):
    unet = random_unet()
    decoder = unet.output_blocks[-1][0]  # at 16 px: joins 8 channels with a skip of 8
    x8, x16 = torch.randn(1, 3, 8, 8), torch.randn(1, 3, 16, 16)
    raised, kept = unet(x8, 3, 16).sample, unet(x16, 3, 16).sample
    raised.square().sum().backward()
    for layer in (decoder.in_layers[2], decoder.skip_connection):
        gradient = layer.weight.grad
        assert (gradient[:, 8:] == 0).all()
        assert (gradient[:, :8] != 0).all()
    with torch.no_grad():
        decoder.in_layers[2].weight[:, 8:] += 1
        decoder.in_layers[0].bias[8:] += 1
    torch.testing.assert_close(unet(x8, 3, 16).sample, raised, rtol=0, atol=0)
    assert not torch.allclose(unet(x16, 3, 16).sample, kept)


def test_used_parameters_are_those_of_the_gradient(random_unet):
    unet = random_unet()
    for path in unet.paths:
        unet.zero_grad()
        unet(torch.randn(1, 3, path[0], path[0]), 3, path[1]).sample.sum().backward()
        used = [name for name, p in unet.named_parameters() if p.grad is not None]
        assert path_parameters(unet, *path) == used


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


def test_a_negative_label_is_no_class(random_unet):
    unet = random_unet(num_classes=3)
    x = torch.randn(2, 3, 8, 8)
    mixed = unet(x, 1, 8, torch.tensor([1, -1])).sample
    torch.nn.init.zeros_(unet.label_emb.weight)
    without = unet(x, 1, 8, torch.tensor([0, 0])).sample
    torch.testing.assert_close(mixed[1], without[1])
    assert not torch.allclose(mixed[0], without[0])


def test_log_snr_takes_the_place_of_steps(random_unet):
    by_step, by_snr = random_unet(), random_unet(time_input="logsnr")
    x, logsnr = torch.randn(3, 3, 8, 8), torch.tensor([10.0, 1.5, -10.0])
    steps = torch.tensor([0.0, 425.0, 1000.0])
    torch.testing.assert_close(by_snr(x, logsnr).sample, by_step(x, steps).sample)


def test_images_need_not_be_square_nor_powers_of_two(random_unet):
    unet = random_unet()
    assert unet(torch.randn(2, 3, 8, 12), 3, 16).sample.shape == (2, 3, 16, 24)
    assert unet(torch.randn(2, 3, 20, 8), 3, 8).sample.shape == (2, 3, 20, 8)
    with pytest.raises(InputError, match="longer side must be a multiple of 2"):
        unet(torch.randn(2, 3, 8, 11), 3, 16)
    odd = random_unet(image_size=20)
    assert odd.resolutions == (20, 10, 5)
    assert odd(torch.randn(2, 3, 5, 5), 3, 20).sample.shape == (2, 3, 20, 20)


@pytest.mark.parametrize("channels", [1, 4])
def test_images_may_have_any_number_of_channels(channels, random_unet):
    unet = random_unet(in_channels=channels)
    assert unet(torch.randn(2, channels, 8, 8), 3, 16).sample.shape == (2, channels, 16, 16)


def test_gradient_checkpointing_keeps_gradients_and_saves_memory(random_unet):
    from ssd_models.bench.contenders import LiveTensors

    unet = random_unet(dropout=0.2)
    x = torch.randn(4, 3, 16, 16)
    gradients, peaks = [], []
    for unet.gradient_checkpointing in (False, True):
        torch.manual_seed(1)  # of dropout
        unet.zero_grad()
        with LiveTensors() as live:
            unet(x, 3, 16).sample.square().sum().backward()
        peaks.append(live.peak)
        gradients.append([p.grad for p in unet.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)
    assert peaks[1] < 0.7 * peaks[0]


def test_normalization_groups_straddle_no_joint():
    from ssd_models.network.normalization import GroupNorm

    for widths, groups in [((64,), 4), ((128,), 8), ((32,), 4), ((64, 128), 12), ((64, 32), 12),
                           ((18,), 9), ((34,), 17), ((17, 34), 51), ((2,), 2)]:  # fmt: skip
        norm = GroupNorm.of_size(16, *widths)
        assert norm.num_groups == groups
        assert all(width % (sum(widths) // groups) == 0 for width in widths)


@pytest.mark.parametrize("channels", [96, 64])  # joined maps, and the first alone
def test_bfloat16_maps_are_normalized_in_float32(channels):
    from ssd_models.network.normalization import GroupNorm

    norm = GroupNorm.of_size(16, 64, 32)  # groups of 8
    torch.nn.init.normal_(norm.weight)
    h = 3 + 0.1 * torch.randn(2, channels, 5, 4)  # bfloat16 statistics would be 10 % off
    modulation = torch.randn(2, 2 * channels)
    h = h.bfloat16()
    groups = h.double().view(2, channels // 8, -1)
    mean, var = groups.mean(-1, keepdim=True), groups.var(-1, correction=0, keepdim=True)
    expected = ((groups - mean) / (var + norm.eps).sqrt()).view(2, channels, 5, 4)
    weight, bias = norm.weight[:channels].double(), norm.bias[:channels].double()
    expected = expected * weight[:, None, None] + bias[:, None, None]
    scale, shift = modulation.double()[:, :, None, None].chunk(2, dim=1)
    expected = torch.nn.functional.silu(expected * (1 + scale) + shift)
    with torch.autocast("cpu", torch.bfloat16):
        found = norm(h, modulation, activation=True)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), expected, rtol=0.03, atol=0.03)


def test_attention_is_the_same_with_and_without_gradient():
    from ssd_models.network.blocks import attention

    q, k, v = torch.randn(3, 2, 4, 9, 5)
    with torch.no_grad():
        fused = attention(q, k, v)
    torch.testing.assert_close(attention(q.requires_grad_(), k, v), fused)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_paths_agree_with_eager_and_are_one_graph_each(backend, random_unet):
    import torch._dynamo as dynamo

    small = {"image_size": 8, "channel_mult": (1, 2), "attention_resolutions": (4,)}
    unet = random_unet(std=0.3, **({} if backend == "aot_eager" else small))
    paths = unet.paths if backend == "aot_eager" else [(4, 8)]  # half a minute each
    inputs = {p: torch.randn(2, 3, p[0], p[0]) for p in paths}

    def run(path, t):
        unet.zero_grad()
        sample = unet(inputs[path], t, path[1]).sample
        sample.square().mean().backward()
        used = {n: p.grad.clone() for n, p in unet.named_parameters() if p.grad is not None}
        return sample.detach(), used

    eager = [run(path, torch.tensor([3, 700])) for path in paths]
    dynamo.reset()
    dynamo.utils.counters.clear()
    unet.compile(backend=backend)
    for path, (sample, gradients) in zip(paths, eager, strict=True):
        found, compiled = run(path, torch.tensor([3, 700]))
        torch.testing.assert_close(found, sample, rtol=1e-4, atol=1e-5)
        assert compiled.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(compiled[name], gradient, rtol=1e-3, atol=1e-5)
        for t in (torch.tensor([5, 6]), torch.tensor([0.5, 9.0]), 3, 900):
            run(path, t)  # other steps, in any form, make no other graph
    assert dynamo.utils.counters["stats"]["unique_graphs"] == len(paths)


@pytest.mark.slow
def test_torch_compile_takes_every_path_whole(random_unet):
    import torch._dynamo as dynamo

    small = {"image_size": 8, "channel_mult": (1, 1), "attention_resolutions": ()}
    unet = random_unet(**small).eval()
    dynamo.reset()
    dynamo.utils.counters.clear()
    # Three paths and two sizes of batch are six graphs, as ten paths are ten: more than allowed.
    with (
        torch.no_grad(),
        dynamo.config.patch(recompile_limit=2, fail_on_recompile_limit_hit=True),
    ):
        compiled = torch.compile(unet, backend="eager", fullgraph=True)
        for n in (2, 3, 4):
            for r_in, r_out in unet.paths:
                x, t = torch.randn(n, 3, r_in, r_in), torch.full((n,), 7.0)
                expected = unet(x, t, r_out).sample
                torch.testing.assert_close(compiled(x, t, r_out).sample, expected)
    assert dynamo.utils.counters["stats"]["unique_graphs"] <= 2 * len(unet.paths)


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
        ({"time_input": "x"}, "time_input is 'x'"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"in_channels": 0}, "in_channels is 0"),
        ({"dropout": 1.5}, "dropout is 1.5"),
        ({"variant": "paper"}, "32 groups"),
    ],
)
def test_impossible_shapes_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        FlexiUNet(**{"image_size": 16, "base_channels": 8, "channel_mult": (1, 2, 2), **options})


def test_impossible_paths_are_refused(random_unet):
    with pytest.raises(InputError, match=r"no path from resolution 8 .* to 4"):
        random_unet()(torch.randn(1, 3, 8, 8), 0, 4)
