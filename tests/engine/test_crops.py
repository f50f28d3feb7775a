import numpy as np
import pytest
import torch
from torch import nn

from engine.crops import agrees, find_crops, whole_crop
from engine.fields import find_fields
from engine.passes import probe_inputs, truncated
from tests.engine.small_networks import Attention, Hiding, Padded, Same, Shaded, Upsampled, network_of, seeded


def maps_of(network, layer, images) -> torch.Tensor:
    found = []
    with truncated(network, [layer], lambda _, maps: found.append(maps.clone())) as run:
        run(images)
    return found[0]


@pytest.mark.parametrize(
    ("make", "layers"),
    [(Padded, ["conv1", "pool1", "conv2", "conv3", "pool3"]), (Same, ["stem", "deep", "skip"]), (Upsampled, ["up"])],
)
def test_every_unit_has_the_same_value_on_its_crop(make, layers):
    network = network_of(seeded(make), (64, 64), layers)
    image = probe_inputs(network, 1, 3)
    for layer, crop in find_crops(network, layers).items():
        assert crop.share < 0.6, layer
        full = maps_of(network, layer, image)[0]
        for y in range(full.shape[1]):
            for x in {0, full.shape[2] // 2, full.shape[2] - 1}:
                top, left = crop.y.origin[y], crop.x.origin[x]
                part = image[:, :, top : top + crop.y.length, left : left + crop.x.length]
                unit = maps_of(network, layer, part)[0, :, crop.y.local[y], crop.x.local[x]]
                torch.testing.assert_close(unit, full[:, y, x], rtol=1e-5, atol=1e-5)


def test_a_crop_begins_at_a_multiple_of_the_stride_and_holds_the_field():
    network = network_of(seeded(Padded), (64, 64))
    crop = find_crops(network, ["conv2"])["conv2"]
    assert not (crop.y.origin % 4).any()
    assert (crop.y.origin <= crop.field.top).all()
    assert (crop.y.origin + crop.y.length >= crop.field.bottom).all()
    assert (crop.y.origin + crop.y.length)[-1] == 64


@pytest.mark.parametrize(
    ("make", "layer"), [(Shaded, "conv"), (Attention, "patches")], ids=["sees the crop's size", "insists on its size"]
)
def test_a_network_that_knows_its_input_size_is_taken_whole(make, layer):
    network = network_of(seeded(make), layers=[layer])
    crop = find_crops(network, [layer])[layer]
    is_first = layer == "patches"  # before the position code, crops are as good as the image
    assert crop.is_whole != is_first


def test_a_layer_behind_the_position_code_is_taken_whole():
    network = network_of(seeded(Attention), layers=["block"])
    assert find_crops(network, ["block"])["block"].is_whole


def test_an_adaptive_pool_is_taken_whole():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(7))
    crops = find_crops(network_of(module), ["0", "1"])
    assert crops["1"].is_whole
    assert not crops["1"].field.is_whole
    assert not crops["0"].is_whole


def test_a_field_that_was_found_too_small_is_given_up():
    network = network_of(seeded(Hiding))
    field = find_fields(network, ["conv"])["conv"]
    assert (field.bottom - field.top).max() == 3
    assert not agrees(network, "conv", whole_crop(field), probe_inputs(network, 1, 0))
    crop = find_crops(network, ["conv"])["conv"]
    assert crop.is_whole
    assert crop.field.is_whole


def test_places_of_a_crop_are_consistent():
    crop = find_crops(network_of(seeded(Same), (64, 64)), ["deep"])["deep"]
    np.testing.assert_array_equal(crop.y.origin // 4 + crop.y.local, np.arange(16))
