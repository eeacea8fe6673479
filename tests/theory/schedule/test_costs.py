"""Costs of the paper's network: the published figures, and a count on the network itself."""

import pytest

from theory import InputError
from theory.schedule.costs import (
    cost_table,
    forward_flops,
    network_levels,
    network_size,
    paper_architecture,
)

GFLOP = {
    (64, 64): 56.7,
    (32, 32): 34.4,
    (16, 16): 16.3,
    (8, 8): 5.05,
    (32, 64): 56.7,
    (16, 32): 29.8,
    (8, 16): 12.7,
}


@pytest.mark.parametrize("path", GFLOP)
def test_published_figures(path):
    assert forward_flops(64, *path) / 1e9 == pytest.approx(GFLOP[path], rel=0.005)


@pytest.mark.parametrize(("size", "gflop"), [(128, 117.3), (256, 435.5)])
def test_larger_networks(size, gflop):
    assert forward_flops(size, size, size) / 1e9 == pytest.approx(gflop, rel=0.001)


@pytest.mark.parametrize("path", [(32, 32), (16, 16), (8, 16), (8, 8)])
def test_counted_on_the_network_itself(path):
    from ssd_models.network.flexi_unet import FlexiUNet
    from ssd_models.network.path_costs import path_flops

    unet = FlexiUNet.from_preset("paper-32", variant="paper")
    assert path_flops(unet, *path) == pytest.approx(forward_flops(32, *path), rel=0.002)


def test_tables_hold_every_call():
    table = cost_table((32, 16, 8))
    assert set(table) == {(8, 8), (8, 16), (8, 32), (16, 16), (16, 32), (32, 32)}
    assert paper_architecture(64) == ((1, 2, 3, 4), (16, 8))
    with pytest.raises(InputError, match="is not 32 halved"):
        cost_table((32, 12))


@pytest.mark.parametrize(
    ("side", "size"),
    [
        (1, 1),
        (3, 2),
        (7, 4),
        (30, 28),
        (32, 32),
        (48, 48),
        (63, 60),
        (100, 96),
        (178, 176),
        (999, 960),
    ],
)
def test_a_size_for_the_network_loses_few_pixels_and_no_level(side, size):
    assert network_size(side) == size
    if side >= 4:
        # As many levels as where nothing stands in the way.
        assert network_levels(size) == max(network_levels(s) for s in range(size, side + 1))


@pytest.mark.parametrize("size", [20, 48, 96, 100, 160])
def test_levels_are_those_of_the_networks_that_are_trained(size):
    from ssd_models.network.flexi_unet import FlexiUNet

    for width in ("small", "paper"):
        unet = FlexiUNet.from_preset(f"{width}-{size}", base_channels=2, num_heads=1)
        assert len(unet.resolutions) == network_levels(size)
