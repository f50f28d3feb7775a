import numpy as np
import pytest
import torch
from torch import nn

from engine.tracing import by_unit, layer_name, split_name, trace, value_hash


def test_units_run_through_channels_then_rows_then_columns():
    first = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    last = first.permute(0, 2, 3, 1).contiguous()
    np.testing.assert_array_equal(by_unit(last, channels_last=True), first.flatten(1))
    assert by_unit(first, channels_last=False).data_ptr() == first.data_ptr()


def test_tracing_leaves_no_hook_and_gives_training_flags_back():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
    module[1].eval()
    trace(module, torch.rand(2, 3, 8, 8))
    assert [m.training for m in module.modules()] == [True, True, False, True]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert int(module[1].num_batches_tracked) == 0


def test_tracing_that_fails_leaves_no_hook_either():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(7, 7))
    with pytest.raises(RuntimeError, match="shapes"):
        trace(module, torch.rand(2, 3, 8, 8))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


@pytest.mark.parametrize("name", ["features.3.squeeze", "relu@2", "(output)", "(output)@3"])
def test_a_layers_name_is_its_path_and_call(name):
    assert layer_name(*split_name(name)) == name


def test_value_hashes_ignore_order_and_zeros_and_see_one_changed_bit():
    values = torch.randn(2, 1000, generator=torch.Generator().manual_seed(1))
    values[:, ::5] = 0.0
    shuffled = values[:, torch.randperm(1000, generator=torch.Generator().manual_seed(2))]
    assert value_hash(shuffled) == value_hash(values)
    assert value_hash(torch.where(values == 0, -0.0, values)) == value_hash(values)
    assert value_hash(nn.functional.pad(values, (3, 4))) == value_hash(values)
    changed = values.clone()
    changed[1, 3] = torch.nextafter(changed[1, 3], torch.tensor(9.0))
    assert value_hash(changed) != value_hash(values)
    assert value_hash(values[:, :999]) != value_hash(values)
