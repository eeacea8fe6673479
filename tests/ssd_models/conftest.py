import pytest
import torch

from ssd_models.network.flexi_unet import FlexiUNet


@pytest.fixture
def random_unet():
    """Builder of a seeded 16-pixel network of three levels, none of its layers zero."""

    def build(std=0.1, **options):
        torch.manual_seed(0)
        shape = {"image_size": 16, "base_channels": 8, "channel_mult": (1, 2, 2)}
        shape |= {"num_res_blocks": 1, "attention_resolutions": (8,), "num_heads": 2}
        unet = FlexiUNet(**(shape | options))
        for parameter in unet.parameters():  # zero-initialized layers would hide what runs
            torch.nn.init.normal_(parameter, std=std)
        return unet

    return build
