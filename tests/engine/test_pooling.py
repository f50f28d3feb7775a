"""Max pooling with the channels side by side is bit for bit what it was."""

import pytest
import torch
from torch import nn

from engine.pooling import fast_max_pooling


@pytest.mark.parametrize("settings", [{}, {"stride": 1, "padding": 1}, {"dilation": 2}, {"ceil_mode": True}])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_layout_stay(settings, layout):
    module = nn.Sequential(nn.MaxPool2d(3, **settings), nn.Identity())
    maps = torch.randn(2, 5, 13, 11)
    maps[0, 0, 4, 4] = torch.nan
    maps = maps.contiguous(memory_format=layout)
    usual = module(maps)
    seen = []
    with fast_max_pooling(module):
        module[0].register_forward_hook(lambda pool, args, pooled: seen.append(args[0].stride()))
        fast = module(maps)
    assert seen == [maps.contiguous(memory_format=torch.channels_last).stride()]
    torch.testing.assert_close(fast, usual, rtol=0, atol=0, equal_nan=True)
    assert fast.stride() == usual.stride()


def test_other_poolings_are_left_alone_and_hooks_are_removed():
    module = nn.Sequential(nn.MaxPool2d(2, return_indices=True))
    pooled, index = nn.MaxPool2d(2, return_indices=True)(torch.arange(16.0).view(1, 1, 4, 4))
    with fast_max_pooling(module):
        fast = module(torch.arange(16.0).view(1, 1, 4, 4))
    assert torch.equal(fast[0], pooled)
    assert torch.equal(fast[1], index)
    plain = nn.MaxPool2d(2)
    with fast_max_pooling(plain):
        assert len(plain._forward_hooks) == 1
    assert len(plain._forward_hooks) == len(plain._forward_pre_hooks) == 0
