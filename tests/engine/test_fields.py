import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import engine
from engine.errors import LayerError
from engine.fields import Field, find_fields
from tests.engine.small_networks import Attention, Excited, Padded, Upsampled, network_of, seeded

Stage = tuple[int, int, int, int]
"""Kernel, stride, padding, dilation."""


def by_hand(stages: list[Stage], n_places: int, n_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """First and one past the last pixel that each place of the last stage sees, by going back stage by stage."""
    sizes = [n_pixels]
    for kernel, stride, padding, dilation in stages:
        sizes.append((sizes[-1] + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1)
    assert sizes[-1] == n_places
    first, last = np.arange(n_places), np.arange(n_places)
    for (kernel, stride, padding, dilation), size in zip(stages[::-1], sizes[-2::-1], strict=True):
        first, last = first * stride - padding, last * stride - padding + dilation * (kernel - 1)
        first, last = np.maximum(first, 0), np.minimum(last, size - 1)
    return first, last + 1


def stage(kernel: int, stride: int, padding: int, dilation: int, n_in: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(n_in, 3, kernel, stride, padding, dilation), nn.ReLU())


stages = st.lists(
    st.tuples(st.sampled_from([1, 2, 3, 5]), st.integers(1, 3), st.integers(0, 2), st.just(1)), min_size=1, max_size=4
)


@settings(max_examples=25)
@given(stages=stages, n_pixels=st.integers(30, 41))
def test_fields_are_those_computed_by_hand(stages, n_pixels):
    stages = [(k, s, min(p, k - 1), d) for k, s, p, d in stages]
    module = nn.Sequential(*(stage(*one, n_in=3) for one in stages))
    network = network_of(module, (n_pixels, n_pixels), layers=[str(i) for i in range(len(stages))])
    table, found = network.layers.set_index("name"), find_fields(network, list(network.layers["name"]))
    for i, name in enumerate(table.index):
        first, last = by_hand(stages[: i + 1], table.loc[name, "height"], n_pixels)
        for start, end in ((found[name].top, found[name].bottom), (found[name].left, found[name].right)):
            np.testing.assert_array_equal(start, first)
            np.testing.assert_array_equal(end, last)


def test_rows_and_columns_are_told_apart_in_an_oblong_image():
    module = nn.Sequential(nn.Conv2d(3, 3, (1, 7), padding=(0, 3)), nn.Conv2d(3, 3, (3, 1), stride=(2, 1)))
    field = find_fields(network_of(module, (30, 50)), ["1"])["1"]
    np.testing.assert_array_equal(field.top, 2 * np.arange(14))
    np.testing.assert_array_equal(field.bottom, 2 * np.arange(14) + 3)
    np.testing.assert_array_equal(field.left, np.maximum(np.arange(50) - 3, 0))
    np.testing.assert_array_equal(field.right, np.minimum(np.arange(50) + 4, 50))


def test_zero_weights_count_as_seen():
    module = seeded(nn.Conv2d, 3, 2, 5, padding=2)
    nn.init.zeros_(module.weight)
    field = find_fields(network_of(nn.Sequential(module, nn.ReLU()), (20, 20), ["0"]), ["0"])["0"]
    np.testing.assert_array_equal(field.bottom - field.top, [3, 4, *[5] * 16, 4, 3])


def test_upsampled_units_share_fields():
    field = find_fields(network_of(seeded(Upsampled), (32, 32)), ["up"])["up"]
    np.testing.assert_array_equal(field.top[8:16], [7] * 4 + [11] * 4)


@pytest.mark.parametrize(("make", "layer"), [(Excited, "last"), (Attention, "block.norm2")])
def test_what_reads_the_whole_map_sees_everything(make, layer):
    assert find_fields(network_of(seeded(make)), [layer])[layer].is_whole


def test_a_network_that_refuses_a_marked_image_is_taken_whole():
    class Picky(nn.Conv2d):
        def forward(self, images):
            assert images.isfinite().all()
            return super().forward(images)

    field = find_fields(network_of(nn.Sequential(Picky(3, 2, 3)), (20, 20), ["0"]), ["0"])["0"]
    assert field.is_whole
    assert field.top.shape == (18,)


def test_squeezenet_has_the_fields_that_its_strides_and_kernels_give():
    found = find_fields(engine.load_network("squeezenet1_1", weights="random"), ["conv1", "fire2", "pool3"])
    assert [int((f.bottom - f.top).max()) for f in found.values()] == [3, 15, 31]
    assert [int(f.top[20] - f.top[19]) for f in found.values()] == [2, 4, 8]
    np.testing.assert_array_equal(found["pool3"].bottom[-2:], [223, 223])  # the last pixel is left out by the strides


def test_the_network_is_left_as_it_was():
    module = seeded(Padded)
    network = network_of(module)
    module.train()
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    find_fields(network, ["pool3"])
    assert all(m.training and not m._forward_hooks for m in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())


def test_an_unknown_layer_is_named_with_the_closest():
    with pytest.raises(LayerError, match=r"layer 'pool4' is not among the .* closest: 'pool3'"):
        find_fields(network_of(seeded(Padded)), ["pool4"])


def test_the_whole_image_is_a_field():
    assert Field.whole((4, 5), (20, 30)).is_whole
    assert not Field(np.array([0, 1]), np.array([4, 5]), np.zeros(2, int), np.full(2, 5), (5, 5)).is_whole
