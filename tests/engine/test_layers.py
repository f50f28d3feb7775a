import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from engine.errors import LayerError
from engine.layers import layer_tables, left_out, require_known
from engine.tracing import trace


def tables(module: nn.Module, names=None, size: int = 16):
    """Layers and reasons (name to text) of a module on two random images."""
    module.eval()
    probe = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    outputs = trace(module, probe)
    layers, others = layer_tables(outputs, left_out(outputs, probe), names)
    return layers, dict(zip(others["name"], others["reason"], strict=True))


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


class Fire(nn.Module):
    def __init__(self):
        super().__init__()
        self.squeeze = nn.Conv2d(3, 4, 1)
        self.left = nn.Sequential(nn.Conv2d(4, 5, 1), nn.ReLU(inplace=True))
        self.right = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(inplace=True))

    def forward(self, images):
        squeezed = self.squeeze(images)
        return torch.cat([self.left(squeezed), self.right(squeezed)], dim=1)


class Growing(nn.Module):
    """A block of DenseNet: each step sees all before it, and the block hands on what it was given."""

    def __init__(self, n_in: int = 3, n_steps: int = 3, growth: int = 4):
        super().__init__()
        self.steps = nn.ModuleList(nn.Conv2d(n_in + i * growth, growth, 3, padding=1) for i in range(n_steps))

    def forward(self, images):
        maps = [images]
        for step in self.steps:
            maps.append(step(torch.cat(maps, dim=1)))
        return torch.cat(maps, dim=1)


def test_layers_come_in_execution_order_with_their_sizes_and_depth():
    module = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(5 * 7 * 7, 9)
    )
    layers, reasons = tables(module)
    assert layers["name"].tolist() == ["0", "1", "2", "4"]
    assert layers["kind"].tolist() == ["Conv2d", "ReLU", "MaxPool2d", "Linear"]
    assert layers[["channels", "height", "width"]].values.tolist() == [[5, 14, 14], [5, 14, 14], [5, 7, 7], [9, 1, 1]]
    assert layers["units"].tolist() == [980, 980, 245, 9]
    np.testing.assert_allclose(layers["depth"], [0, 1 / 3, 2 / 3, 1])
    assert reasons == {"3": "Flatten hands on '2'", "(output)": "hands on the output of '4'"}


def test_execution_order_is_not_the_order_of_definition():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.second, self.first = nn.Conv2d(4, 2, 1), nn.Conv2d(3, 4, 1)

        def forward(self, images):
            return functional.relu(self.second(self.first(images)))

    assert tables(Backwards())[0]["name"].tolist() == ["first", "second", "(output)"]


def test_a_module_called_n_times_gives_n_layers_and_two_names_of_one_module_give_one():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.same = self.conv
            self.relu = nn.ReLU()

        def forward(self, images):
            return self.relu(self.conv(self.relu(self.same(images))))

    layers, reasons = tables(Twice())
    assert layers["name"].tolist() == ["conv", "relu", "conv@2", "relu@2"]
    assert reasons == {"(output)": "hands on the output of 'relu@2'"}


def test_identity_dropout_and_views_are_left_out_even_where_they_reorder():
    class Permute(nn.Module):
        def forward(self, images):
            return images.permute(0, 2, 3, 1)

    module = nn.Sequential(nn.Identity(), nn.Conv2d(3, 4, 3), nn.Dropout(), Permute(), nn.ReLU())
    layers, reasons = tables(module)
    assert layers["name"].tolist() == ["1", "4"]
    assert reasons["0"] == "equals the input"
    assert reasons["2"] == "Dropout hands on '1'"
    assert reasons["3"] == "same values as '1' on the probe images"


def test_padding_is_left_out():
    class Pad(nn.Module):
        def forward(self, maps):
            return functional.pad(maps, (0, 1, 0, 1))

    layers, reasons = tables(nn.Sequential(Pad(), nn.Conv2d(3, 4, 3), nn.ReflectionPad2d(2), nn.ZeroPad2d(1), Pad()))
    assert layers["name"].tolist() == ["1"]
    assert reasons == {
        "0": "equals the input",
        "2": "ReflectionPad2d hands on its input",
        "3": "ZeroPad2d hands on '2'",
        "4": "same values as '2' on the probe images",
        "(output)": "hands on the output of '2'",
    }


def test_a_rectifier_that_has_nothing_to_rectify_is_a_copy():
    layers, reasons = tables(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.ReLU()))
    assert layers["name"].tolist() == ["0", "1", "2"]
    assert reasons["3"] == "same values as '2' on the probe images"


def test_a_convolution_that_only_a_batch_norm_reads_is_left_out():
    class Block(nn.Module):
        def __init__(self, shortcut: bool):
            super().__init__()
            self.conv, self.norm, self.shortcut = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), shortcut

        def forward(self, images):
            maps = self.conv(images)
            return self.norm(maps) + maps if self.shortcut else self.norm(maps)

    assert tables(Block(shortcut=False))[1]["conv"] == "convolution that only a batch norm reads"
    assert tables(Block(shortcut=True))[0]["name"].tolist() == ["conv", "norm", "(output)"]


def test_a_block_that_concatenates_its_own_parts_stays_and_they_go():
    layers, reasons = tables(nn.Sequential(Fire(), nn.Conv2d(11, 2, 1)))
    assert layers["name"].tolist() == ["0.squeeze", "0.left.0", "0.right.0", "0", "1"]
    assert layers["channels"].tolist() == [4, 5, 6, 11, 2]
    assert reasons["0.left.1"] == "part of '0', which concatenates it"
    assert reasons["0.left"] == "hands on the output of '0.left.1'"


def test_where_concatenations_grow_the_parts_stay_and_the_block_goes():
    layers, reasons = tables(nn.Sequential(nn.Conv2d(3, 3, 1), Growing(), nn.Conv2d(15, 2, 1)))
    assert layers["name"].tolist() == ["0", "1.steps.0", "1.steps.1", "1.steps.2", "2"]
    assert reasons["1"] == "concatenates or selects channels of '0', '1.steps.0', '1.steps.1', '1.steps.2'"


def test_a_slice_of_another_layers_channels_is_left_out():
    class FirstHalf(nn.Module):
        def forward(self, maps):
            return maps[:, :3]

    reasons = tables(nn.Sequential(nn.Conv2d(3, 6, 3), FirstHalf(), nn.Conv2d(3, 2, 1)))[1]
    assert reasons["1"] == "concatenates or selects channels of '0'"


def test_constant_layers_are_not_taken_for_copies():
    class Zero(nn.Module):
        def forward(self, maps):
            return torch.zeros_like(maps)

    assert tables(nn.Sequential(nn.Conv2d(3, 4, 1), Zero(), Zero()))[0]["name"].tolist() == ["0", "1", "2"]


def test_the_only_float_tensor_of_a_tuple_or_dict_counts_and_two_of_them_do_not():
    class Returns(nn.Module):
        def __init__(self, make):
            super().__init__()
            self.conv, self.make = nn.Conv2d(3, 4, 1), make

        def forward(self, images):
            return self.make(functional.relu(self.conv(images)))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = Returns(lambda maps: (maps, None))
            self.two = Returns(lambda maps: {"a": maps * 2, "b": (maps * 3,)})
            self.none = Returns(lambda maps: maps.argmax(1))

        def forward(self, images):
            return self.one(images)[0].mean((1, 2, 3)) + self.two(images)["a"].sum() + self.none(images).sum()

    layers, reasons = tables(Net())
    assert layers["name"].tolist() == ["one.conv", "one", "two.conv", "none.conv", "(output)"]
    assert reasons == {
        "two": "returns 2 float tensors in a dict",
        "none": "returns no float tensor but a tensor of torch.int64",
    }
    with pytest.raises(LayerError, match=r"layer 'two' \(Returns\) returns 2 float tensors in a dict; a layer is one"):
        tables(Net(), ["one", "two"])


def test_an_output_without_the_batch_first_is_left_out():
    class Windows(nn.Module):
        def forward(self, maps):
            return functional.unfold(maps, 4, stride=4).permute(2, 0, 1) * 2

    reasons = tables(nn.Sequential(nn.Conv2d(3, 4, 1), Windows()))[1]
    assert reasons["1"] == "returns (16, 2, 64), whose first dimension is not the batch of 2"


def test_five_dimensions_and_empty_outputs_are_left_out():
    class Five(nn.Module):
        def forward(self, maps):
            return maps.view(2, 2, 2, 16, 16) * 2

    class Empty(nn.Module):
        def forward(self, maps):
            return maps[:, :0, 0]

    reasons = tables(nn.Sequential(nn.Conv2d(3, 4, 1), Five(), Empty()))[1]
    assert reasons["1"] == "returns 5 dimensions, (2, 2, 2, 16, 16); expected 1 to 4"
    assert reasons["2"] == "returns an empty tensor, (2, 0, 16, 16)"


def test_tokens_are_positions_and_their_entries_channels():
    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 12, 4, stride=4)
            self.block = nn.TransformerEncoderLayer(12, 3, 24, batch_first=True)

        def forward(self, images):
            return self.block(self.patches(images).flatten(2).transpose(1, 2))

    layers, _ = tables(Transformer())
    size = layers.set_index("name")[["channels", "height", "width"]].apply(tuple, axis=1)
    assert size["patches"] == (12, 4, 4)
    assert size["block.linear1"] == (24, 16, 1)
    assert size["block.norm2"] == (12, 16, 1)


def test_channels_that_come_last_are_recognised_after_linear_and_layer_norm():
    class ChannelsLast(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.wide = nn.Conv2d(3, 6, 4, stride=4), nn.LayerNorm(6), nn.Linear(6, 10)
            self.gelu, self.back = nn.GELU(), nn.Conv2d(10, 2, 1)

        def forward(self, images):
            maps = self.gelu(self.wide(self.norm(self.conv(images).permute(0, 2, 3, 1))))
            return self.back(maps.permute(0, 3, 1, 2))

    layers, _ = tables(ChannelsLast(), size=20)
    assert layers["channels"].tolist() == [6, 6, 10, 10, 2]
    assert layers["height"].tolist() == [5, 5, 5, 5, 5]


def test_names_are_taken_literally_even_what_the_list_leaves_out():
    layers, reasons = tables(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.ReLU()), ["1", "0"])
    assert layers["name"].tolist() == ["0", "1"]
    assert reasons == {"2": "not among the named layers", "(output)": "hands on the output of '2'"}


def test_patterns_choose_from_the_layer_list_and_names_from_everything():
    module = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout()), nn.Conv2d(4, 4, 3), nn.ReLU())
    assert tables(module, ["0.*"])[0]["name"].tolist() == ["0.0", "0.1"]
    assert tables(module, ["?"])[0]["name"].tolist() == ["1", "2"]
    assert tables(module, ["2", "0.[01]", "0.2"])[0]["name"].tolist() == ["0.0", "0.1", "0.2", "2"]
    assert tables(module, "*1")[0]["name"].tolist() == ["0.1", "1"]


def test_a_pattern_that_matches_nothing_is_refused_with_the_closest_names():
    module = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout()), nn.Conv2d(4, 4, 3), nn.ReLU())
    with pytest.raises(
        LayerError, match=r"layers: '0\.7\*' matches none of the 4 layers; closest: '0\.\d'.*\* stands for"
    ):
        tables(module, ["1", "0.7*"])
    with pytest.raises(
        LayerError, match=r"matches 1 that are left out, first '0\.2' \(Dropout hands on '0\.1'\); to take"
    ):
        tables(module, ["0.2*"])


def test_a_name_that_looks_like_a_pattern_is_taken_literally():
    module = nn.Sequential()
    module.add_module("conv[1]", nn.Conv2d(3, 4, 3))
    module.add_module("conv1", nn.Conv2d(4, 4, 3))
    assert tables(module, ["conv[1]"])[0]["name"].tolist() == ["conv[1]"]


def test_recurrent_modules_are_left_out_with_a_reason_and_a_cell_gives_a_layer_a_step():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows, self.columns = nn.LSTM(48, 8, batch_first=True), nn.GRU(48, 8, batch_first=True)
            self.cell, self.last = nn.GRUCell(16, 16), nn.Linear(16, 3)

        def forward(self, images):
            sequence = images.transpose(1, 2).flatten(2)
            both = torch.cat([self.rows(sequence)[0], self.columns(sequence)[0]], 2)
            state = torch.zeros(len(images), 16)
            for step in range(3):
                state = self.cell(both[:, step], state)
            return self.last(state)

    layers, reasons = tables(Recurrent())
    assert layers["name"].tolist() == ["cell", "cell@2", "cell@3", "last"]
    assert reasons["rows"] == "returns 3 float tensors in a tuple"
    assert reasons["columns"] == "returns 2 float tensors in a tuple"
    with pytest.raises(
        LayerError, match=r"layer 'rows' \(LSTM\) returns 3 float tensors in a tuple; .*wrap it in a module"
    ):
        tables(Recurrent(), ["rows"])


def test_channels_first_stay_first_after_a_layer_norm_inside_and_last_after_windows():
    class LayerNorm2d(nn.LayerNorm):
        def forward(self, maps):
            return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    class Windows(nn.Module):
        def forward(self, maps):
            shape = maps.shape
            return functional.softmax(maps.reshape(shape[0], -1, shape[-1]), 1).reshape(shape) * 2

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.norm, self.inner, self.windows = (
                nn.Conv2d(3, 6, 4, 4),
                LayerNorm2d(6),
                nn.LayerNorm(6),
                Windows(),
            )

        def forward(self, images):
            return self.windows(self.inner(self.norm(self.stem(images)).permute(0, 2, 3, 1)))

    layers, _ = tables(Net(), size=20)
    assert layers["name"].tolist() == ["stem", "norm", "inner", "windows"]
    assert layers[["channels", "height", "width"]].values.tolist() == [[6, 5, 5]] * 4


def test_an_unknown_layer_is_refused_with_the_closest_names():
    module = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Conv2d(4, 4, 3))
    with pytest.raises(LayerError, match=r"layer '0\.2' is not among the 5 known ones; closest: '0\.\d'"):
        tables(module, ["0.2"])


@pytest.mark.parametrize("names", ["conv1", []])
def test_layers_are_a_collection_of_names_and_not_empty(names):
    with pytest.raises(LayerError, match="expected a collection of names, got"):
        require_known(["conv1"], names)


def test_a_network_without_any_layer_is_refused():
    with pytest.raises(LayerError, match=r"the network has no layer.*\(output\): equals the input"):
        tables(nn.Identity())
