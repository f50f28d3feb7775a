"""Fast max pooling is PyTorch's, value by value."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from engine.pooling import fast_max_pooling

PAIR = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(size=PAIR, stride=PAIR, half=st.booleans(), ceil=st.booleans(), shape=st.tuples(*[st.integers(4, 13)] * 2))
def test_values_and_layout_are_pytorchs(size, stride, half, ceil, shape):
    pool = nn.MaxPool2d(size, stride, (size[0] // 2, size[1] // 2) if half else 0, ceil_mode=ceil)
    maps = torch.randn(3, 5, *shape).relu()
    maps[0, 0, 2, 3] = torch.nan
    maps[1, 1] = -torch.inf
    usual = pool(maps)
    with fast_max_pooling(pool), torch.inference_mode():
        fast = pool(maps)
    torch.testing.assert_close(fast, usual, rtol=0, atol=0, equal_nan=True)
    assert fast.stride() == usual.stride()


def test_what_is_read_is_not_changed_and_the_module_is_given_back():
    pool = nn.MaxPool2d(3, 2)
    maps = torch.randn(2, 64, 15, 15)
    before = maps.clone()
    with fast_max_pooling(nn.Sequential(pool)):
        assert "forward" in vars(pool)
        with fast_max_pooling(pool):
            fast = pool(maps)
    assert torch.equal(maps, before)
    assert torch.equal(fast, pool(maps))
    assert "forward" not in vars(pool)


@pytest.mark.parametrize(
    ("pool", "change"),
    [
        (nn.MaxPool2d(2, return_indices=True), torch.Tensor.float),
        (nn.MaxPool2d(3, dilation=2), torch.Tensor.float),
        (nn.MaxPool2d(2), torch.Tensor.double),
        (nn.MaxPool2d(2), lambda maps: maps.contiguous(memory_format=torch.channels_last)),
        (nn.MaxPool2d(2), lambda maps: maps[0]),
        (nn.MaxPool2d(2), torch.Tensor.requires_grad_),
    ],
)
def test_other_poolings_are_pytorchs_own(pool, change):
    maps = change(torch.randn(2, 3, 12, 12))
    usual = pool(maps)
    with fast_max_pooling(pool):
        fast = pool(maps)
    for one, other in zip(fast, usual, strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
        assert one.requires_grad == other.requires_grad
