import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from engine.activations import recorded
from engine.errors import LayerError
from engine.networks import Network
from engine.preprocessing import Preprocessing

SMALL = Preprocessing(resize=(16, 16), crop=None)


def network_of(module: nn.Module, layers=None) -> Network:
    return Network.from_module(module, SMALL, layers=layers, image_size=(16, 16))


def record(network: Network, batch: torch.Tensor, layers=None, **settings) -> dict[str, np.ndarray]:
    """Copies of the activations of one pass, in the order in which they came."""
    found = {}
    with recorded(
        network,
        layers or list(network.layers["name"]),
        lambda name, activation: found.update({name: activation.numpy().copy()}),
        **settings,
    ) as run:
        run(batch)
    return found


@pytest.fixture
def batch() -> torch.Tensor:
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def module() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 7 * 7, 5)
        )


def no_hooks(module: nn.Module) -> bool:
    return not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_activations_agree_with_a_forward_pass_written_out(module, batch):
    found = record(network_of(module), batch)
    with torch.inference_mode():
        conv = functional.conv2d(batch, module[0].weight, module[0].bias)
        relu = conv.clamp(min=0)
        pool = functional.max_pool2d(relu, 2)
        dense = pool.flatten(1) @ module[4].weight.T + module[4].bias
    expected = {"0": conv, "1": relu, "2": pool, "4": dense}
    assert list(found) == list(expected)
    for name, activation in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], activation.flatten(1), atol=1e-6)


def test_what_works_in_place_later_does_not_reach_a_recorded_activation(module, batch):
    found = record(network_of(module), batch)
    assert (found["0"] < 0).any()
    np.testing.assert_array_equal(found["1"], found["0"].clip(min=0))


def test_an_activation_is_a_view_of_the_live_output(module, batch):
    pointers = []
    handle = module[0].register_forward_hook(lambda m, _, output: pointers.append(output.data_ptr()))
    network = network_of(module, ["0"])
    pointers.clear()
    with recorded(network, ["0"], lambda _, activation: pointers.append(activation.data_ptr())) as run:
        run(batch)
    handle.remove()
    assert pointers[0] == pointers[1]


def test_a_module_called_twice_gives_both_its_activations(batch):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, images):
            return self.conv(functional.relu(self.conv(images)))

    module = Twice()
    network = network_of(module)
    both = record(network, batch)
    with torch.inference_mode():
        first = module.conv(batch)
        second = module.conv(first.relu())
    np.testing.assert_allclose(both["conv"], first.flatten(1), atol=1e-6)
    np.testing.assert_allclose(both["conv@2"], second.flatten(1), atol=1e-6)
    np.testing.assert_array_equal(record(network, batch, ["conv@2"])["conv@2"], both["conv@2"])


def test_tokens_are_flattened_by_channel_and_the_only_tensor_of_a_tuple_is_taken(batch):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 4, stride=4)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, images):
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            return self.attention(tokens, tokens, tokens, need_weights=False)[0] + tokens

    module = Tokens()
    found = record(network_of(module), batch)
    with torch.inference_mode():
        tokens = module.patches(batch).flatten(2).transpose(1, 2)
        expected = module.attention(tokens, tokens, tokens, need_weights=False)[0].transpose(1, 2).flatten(1)
    np.testing.assert_allclose(found["attention"], expected, atol=1e-5)


def test_the_pass_stops_after_the_deepest_layer_that_was_asked_for(batch):
    class Counting(nn.Module):
        n_calls = 0

        def forward(self, maps):
            Counting.n_calls += 1
            try:
                return maps * 2
            except Exception:  # a network that catches everything must not hold the stop up
                return maps

    network = network_of(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Tanh(), Counting()))
    Counting.n_calls = 0
    record(network, batch, ["1", "0"])
    assert Counting.n_calls == 0
    record(network, batch, ["0"], stop_after_last=False)
    assert Counting.n_calls == 1


def test_a_run_may_be_repeated_with_batches_of_any_size(module, batch):
    network = network_of(module)
    whole = record(network, batch)["4"]
    parts = []
    with recorded(network, ["4"], lambda _, activation: parts.append(activation.numpy().copy())) as run:
        run(batch[:1])
        run(batch[1:])
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_hooks_exist_only_inside_the_with_even_when_something_fails(module, batch):
    network = network_of(module)

    def fail(name, activation):
        raise ZeroDivisionError

    with recorded(network, ["0", "4"], fail) as run:
        assert not no_hooks(module)
        with pytest.raises(ZeroDivisionError):
            run(batch)
    assert no_hooks(module)
    with pytest.raises(KeyError), recorded(network, ["0"], print):
        raise KeyError
    assert no_hooks(module)


def test_hooks_of_the_user_stay(module, batch):
    calls = []
    handle = module[0].register_forward_hook(lambda *_: calls.append(1))
    record(network_of(module), batch)
    calls.clear()
    module(batch)
    handle.remove()
    assert calls == [1]


def test_passes_run_in_eval_and_inference_mode_without_autocast_and_give_everything_back(batch):
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.9), nn.Tanh())
    network = network_of(module)
    expected = record(network, batch)
    module.train()
    seen = []

    def consume(name, activation):
        seen.append((activation.is_inference(), activation.requires_grad, torch.is_autocast_enabled("cpu")))
        np.testing.assert_array_equal(activation.numpy(), expected[name])

    with torch.autocast("cpu", torch.bfloat16), recorded(network, list(network.layers["name"]), consume) as run:
        run(batch)
    assert set(seen) == {(True, False, False)}
    assert all(m.training for m in module.modules())
    assert int(module[1].num_batches_tracked) == 0
    assert all(p.requires_grad for p in module.parameters())


def test_half_precision_outputs_arrive_as_float32(batch):
    class Half(nn.Module):
        def forward(self, maps):
            return maps.half()

    network = network_of(nn.Sequential(nn.Conv2d(3, 4, 1), Half()), ["1"])
    assert record(network, batch)["1"].dtype == np.float32


def test_an_unknown_layer_is_refused_before_any_pass(module):
    with (
        pytest.raises(LayerError, match=r"layer '7' is not among the 4 known ones; closest: '0', '1', '2'"),
        recorded(network_of(module), ["0", "7"], print),
    ):
        pass
    assert no_hooks(module)


def test_a_layer_that_this_input_does_not_reach_is_named(batch):
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.always, self.sometimes = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, images):
            maps = self.always(images)
            return self.sometimes(maps) if images.mean() < 10 else maps * 2

    network = network_of(Sometimes())
    with (
        recorded(network, ["always", "sometimes"], lambda *_: None) as run,
        pytest.raises(LayerError, match=r"1 of 2 layers of mine were not reached in a forward pass, first 'sometimes'"),
    ):
        run(batch + 100)


def test_stimuli_of_another_size_are_refused_with_both_sizes(batch):
    network = network_of(nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1)))
    with (
        recorded(network, ["0"], lambda *_: None) as run,
        pytest.raises(LayerError, match=r"layer '0' of mine returned \(3, 4, 8, 16\), expected .* = \(3, 1024\)"),
    ):
        run(batch[:, :, :8])
