import numpy as np
import pytest
import torch
from torch import nn

import engine
from engine.crops import find_crops
from engine.errors import LayerError, MemoryBudgetError, SettingsError
from engine.gradients import receptive_fields
from engine.preprocessing import Preprocessing
from engine.starts import Starts, noise_starts, stimulus_starts
from engine.stimuli import Stimuli
from tests.engine.small_networks import Attention, Excited, Padded, Same, Shaded, Upsampled, network_of, seeded


def input_starts(network, n=3, seed=0, dtype=torch.float32) -> Starts:
    size = network.preprocess.image_size
    generator = torch.Generator().manual_seed(seed)
    return Starts(torch.randn((n, 3, *size), generator=generator, dtype=dtype), False, "noise")


def one_by_one(network, layer: str, unit: int, images: torch.Tensor, through=lambda images: images) -> torch.Tensor:
    """Gradient at each image by itself, on the full image, written out with nothing of the engine in it."""
    gradients, held = [], []
    handle = network.module.get_submodule(layer).register_forward_hook(lambda m, a, out: held.append(out.clone()))
    for image in images:
        image = image[None].clone().requires_grad_(True)
        held.clear()
        network.module(through(image))
        activation = held[0].movedim(-1, 1) if layer in network.channels_last else held[0]
        gradients.append(torch.autograd.grad(activation.flatten()[unit], image)[0][0])
    handle.remove()
    return torch.stack(gradients)


def require_equal(network, units, starts, tolerance, through=lambda images: images, **settings) -> None:
    found = receptive_fields(network, units, starts=starts, **settings)
    for i, (layer, unit) in enumerate(units):
        expected = one_by_one(network, layer, unit, starts.images, through).double()
        gradient, rms = found["gradient"].values[i], found["rms"].values[i]
        mean, root = expected.mean(0).numpy(), expected.square().mean((0, 1)).sqrt().numpy()
        assert np.abs(gradient - mean).max() <= tolerance * np.abs(mean).max(), (layer, unit)
        assert np.abs(rms - root).max() <= tolerance * root.max(), (layer, unit)
        assert found["live"].values[i] == (expected.abs().amax((1, 2, 3)) > 0).sum()


def all_places(network, layers) -> list[tuple[str, int]]:
    """One unit, its channel going round, at every border and in the middle of every layer."""
    units = []
    for _, layer in network.layers[network.layers["name"].isin(layers)].iterrows():
        height, width = layer["height"], layer["width"]
        ys, xs = ({0, n // 2, n - 1} for n in (height, width))
        for k, (y, x) in enumerate((y, x) for y in sorted(ys) for x in sorted(xs)):
            units.append((layer["name"], int(np.ravel_multi_index((k % layer["channels"], y, x), (99, height, width)))))
    return units


NETWORKS = {
    Padded: ["conv1", "pool1", "conv2", "conv3", "pool3"],
    Same: ["stem", "deep", "skip"],
    Upsampled: ["down", "up", "last"],
    Excited: ["first", "last"],
    Attention: ["patches", "block.norm2"],
    Shaded: ["conv"],
}


@pytest.mark.parametrize(("make", "layers"), NETWORKS.items(), ids=lambda p: getattr(p, "__name__", ""))
def test_gradients_equal_autograd_one_by_one_at_every_border(make, layers):
    network = network_of(seeded(make), layers=layers)
    network.module.double()
    require_equal(network, all_places(network, layers), input_starts(network, dtype=torch.float64), 3e-7)


@pytest.mark.parametrize("make", [Padded, Same])
def test_in_float32_they_agree_to_a_hundred_thousandth(make):
    network = network_of(seeded(make), (64, 64), NETWORKS[make])
    require_equal(network, all_places(network, NETWORKS[make]), input_starts(network), 1e-5)


@pytest.mark.parametrize(
    ("name", "layers"),
    [("squeezenet1_1", ["conv1", "pool3"]), ("efficientnet_lite0", ["block2"])],
)
def test_units_at_the_border_of_real_networks_agree_with_autograd(name, layers):
    network = engine.load_network(name, weights="random")
    units = []
    for layer in layers:
        channels, height, width = network.layers.set_index("name").loc[layer, ["channels", "height", "width"]]
        places = [(0, 0), (height - 1, width // 2), (height - 2, width - 1)]
        units += [(layer, int(np.ravel_multi_index((3, y, x), (channels, height, width)))) for y, x in places]
    crops = find_crops(network, layers)
    assert max(max(crop.size) for crop in crops.values()) < 64
    require_equal(network, units, input_starts(network, 2), 1e-5, crops=crops)


def test_gradients_are_exactly_zero_outside_the_field():
    network = network_of(seeded(Padded), (64, 64))
    found = receptive_fields(network, all_places(network, NETWORKS[Padded]), starts=input_starts(network))
    for i in range(found.sizes["unit"]):
        unit = found.isel(unit=i)
        outside = unit["gradient"].values.copy()
        outside[
            :, int(unit["field_top"]) : int(unit["field_bottom"]), int(unit["field_left"]) : int(unit["field_right"])
        ] = 0
        assert not outside.any()
    assert (found["field_bottom"] <= 64).all()


def test_the_gradient_of_a_linear_network_is_its_effective_filter():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = nn.Sequential(nn.Conv2d(3, 4, 5, bias=False), nn.Conv2d(4, 2, 3, stride=2, bias=False))
    network = network_of(module, (33, 33))
    impulses = torch.zeros(3, 3, 7, 7)
    impulses[range(3), range(3), 3, 3] = 1
    first = nn.functional.conv2d(torch.eye(75).view(75, 3, 5, 5), module[0].weight)
    assert first.shape == (75, 4, 1, 1)
    kernel = torch.zeros(2, 3, 7, 7)
    for y in range(3):
        for x in range(3):
            kernel[:, :, y : y + 5, x : x + 5] += torch.einsum(
                "oc,cikl->oikl", module[1].weight[:, :, y, x], module[0].weight
            )
    unit = int(np.ravel_multi_index((1, 4, 6), (2, 14, 14)))
    found = receptive_fields(network, [("1", unit)], starts=input_starts(network))
    expected = np.zeros((3, 33, 33), np.float32)
    expected[:, 8:15, 12:19] = kernel[1].detach()
    np.testing.assert_allclose(found["gradient"].values[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"resize": (48, 48), "crop": None},
        {
            "resize": 60,
            "crop": (48, 48),
            "channels": "BGR",
            "scale": 1.0,
            "mean": (1.0, 2.0, 3.0),
            "sd": (2.0, 3.0, 4.0),
        },
        {"resize": (48, 48), "crop": None, "interpolation": "bicubic"},
        {"resize": None, "crop": (48, 48)},
    ],
    ids=["bilinear", "cropped BGR", "bicubic", "not resized"],
)
def test_gradients_go_through_the_preprocessing_to_the_pixels(settings):
    preprocess = Preprocessing(**settings)
    network = engine.Network.from_module(seeded(Padded), preprocess, image_size=(56, 70))
    generator = torch.Generator().manual_seed(2)
    pixels = 120 + 90 * torch.randn(3, 3, 56, 70, generator=generator)  # some are beyond 0 to 255
    units = [("conv1", 300), ("conv2", 70), ("pool3", 7)]
    require_equal(network, units, Starts(pixels, True, "noise"), 1e-5, preprocess.from_pixels)


def test_every_unit_can_have_starts_of_its_own():
    network = network_of(seeded(Padded))
    starts, units = input_starts(network, 6), [("conv2", 70), ("conv2", 70), ("pool3", 9)]
    chosen = np.array([[0, 1], [4, 5], [3, 0]])
    found = receptive_fields(network, units, starts=starts, chosen=chosen)
    for i, (layer, unit) in enumerate(units):
        expected = one_by_one(network, layer, unit, starts.images[chosen[i]]).mean(0)
        np.testing.assert_allclose(found["gradient"].values[i], expected, atol=1e-6)
    assert found.attrs["n_starts"] == 2


def test_order_repeats_and_batch_size_change_nothing():
    network = network_of(seeded(Padded))
    units = all_places(network, ["conv1", "conv3"])
    together = receptive_fields(network, units, starts=input_starts(network))
    apart = receptive_fields(network, [*units[::-1], units[0]], starts=input_starts(network), memory="200KiB")
    for name in ("gradient", "rms", "live", "unit_index"):
        np.testing.assert_allclose(apart[name][:-1][::-1], together[name], atol=1e-7)
        np.testing.assert_array_equal(apart[name][-1], apart[name][-2])


def test_a_silent_unit_has_no_live_start_and_no_gradient():
    module = seeded(Padded)
    nn.init.constant_(module.conv1.bias, -1e4)
    network = network_of(module, layers=["relu1", "conv1"])
    found = receptive_fields(network, [("relu1", 30), ("conv1", 30)], starts=input_starts(network))
    assert found["live"].values.tolist() == [0, 3]
    assert not found["gradient"].values[0].any()
    assert found["gradient"].values[1].any()


def test_the_network_is_left_as_it_was():
    network = network_of(seeded(Padded))
    network.module.train()
    network.module.conv2.weight.requires_grad_(False)
    before = {name: (p.requires_grad, p.detach().clone()) for name, p in network.module.named_parameters()}
    with torch.inference_mode():
        receptive_fields(network, [("conv3", 5)], starts=input_starts(network))
    for name, parameter in network.module.named_parameters():
        assert parameter.requires_grad == before[name][0]
        assert torch.equal(parameter, before[name][1])
        assert parameter.grad is None
    assert all(m.training and not m._forward_hooks for m in network.module.modules())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_what_the_processor_gives():
    network = network_of(seeded(Padded), (64, 64))
    units = all_places(network, NETWORKS[Padded])
    expected = receptive_fields(network, units, starts=input_starts(network))
    network.module.cuda()
    found = receptive_fields(network, units, starts=input_starts(network))
    for name in ("gradient", "rms"):
        scale = np.abs(expected[name]).max()
        assert float(np.abs(found[name] - expected[name]).max() / scale) <= 1e-5


class Detached(Padded):
    def forward(self, images):
        return super().forward(images.detach())


def raised(error, units=(("conv2", 5),), make=Padded, **settings) -> str:
    network = network_of(seeded(make))
    with pytest.raises(error) as caught:
        receptive_fields(network, units, **{"starts": input_starts(network), **settings})
    return str(caught.value)


def test_a_unit_that_does_not_exist_is_told_what_does():
    message = raised(SettingsError, [("conv2", 1152)])
    assert message == (
        "unit 1152 of layer 'conv2' does not exist: the layer has 1152 units, 0 to 1151, in C order of "
        "(channel, y, x) = (8, 12, 12)."
    )


def test_other_settings_that_make_no_sense_are_named():
    assert raised(SettingsError, []) == "units: expected (layer, unit) pairs, got none."
    assert "layer 'conv9' is not among" in raised(LayerError, [("conv9", 0)])
    assert raised(SettingsError, chosen=np.array([[0, 9]])) == (
        "chosen: expected int (unit, start) with 1 rows of indices from 0 to 2, one row for each unit, "
        "got int64 (1, 2)."
    )
    small = Starts(torch.zeros(2, 3, 20, 20), False, "noise")
    assert raised(SettingsError, starts=small) == (
        "starts reach mine as images of (20, 20) pixels, but its layers were listed for (48, 48). Give starts of that "
        "size, or the network another image_size."
    )


def test_too_little_memory_is_an_error_that_names_what_suffices():
    message = raised(MemoryBudgetError, memory="1KiB")
    assert message.startswith("memory=1 KiB is too little for the gradient of one image of (")
    assert message.endswith("Give memory=1MiB or more.")


def test_a_network_that_detaches_is_an_error():
    assert raised(LayerError, make=Detached) == (
        "no gradient reaches the input of mine from layer 'conv2': its forward pass detaches, or its output is a "
        "constant. Leave that layer out."
    )


def test_noise_starts_have_the_mean_and_sd_of_the_stimuli():
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 200, (5, 40, 30, 3)).astype(np.uint8)
    colour[..., 2] //= 4
    network = network_of(seeded(Padded))
    starts = noise_starts(network, Stimuli.from_array(colour, [f"i{i}" for i in range(5)]), n=50, seed=1)
    assert starts.images.shape == (50, 3, 40, 30)
    np.testing.assert_allclose(starts.images.mean((0, 2, 3)), colour.mean((0, 1, 2)), atol=1)
    np.testing.assert_allclose(starts.images.std((0, 2, 3)), colour.std((0, 1, 2)), atol=1)
    assert starts.in_pixels
    again = noise_starts(network, Stimuli.from_array(colour, [f"i{i}" for i in range(5)]), n=50, seed=1)
    assert torch.equal(starts.images, again.images)
    gray = noise_starts(network, Stimuli.from_array(colour[..., 0], [f"i{i}" for i in range(5)]), n=2, seed=1)
    assert torch.equal(gray.images[:, 0], gray.images[:, 2])


def test_starts_of_an_arbitrary_preprocessing_are_network_input():
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3)).astype(np.uint8)
    stimuli = Stimuli.from_array(images, ["a", "b", "c"])
    network = engine.Network.from_module(
        seeded(Padded), lambda image: torch.tensor(image / 255.0).float().permute(2, 0, 1), image_size=(48, 48)
    )
    shown = stimulus_starts(network, stimuli, ["c", "a"])
    assert not shown.in_pixels
    np.testing.assert_allclose(shown.images[0], images[2].transpose(2, 0, 1) / 255, atol=1e-6)
    assert not noise_starts(network, stimuli, n=2, seed=0).in_pixels
    with pytest.raises(SettingsError, match=r"starts are pixels, but the preprocessing of mine is no engine\.Prepro"):
        Starts(torch.zeros(1, 3, 48, 48), True, "pixels").inputs(network)


def test_starts_check_themselves():
    with pytest.raises(SettingsError, match=r"starts: expected float \(start, 3, height, width\), got torch.float32"):
        Starts(torch.zeros(2, 1, 8, 8), True, "gray")
    with pytest.raises(SettingsError, match="expected finite values, got NaN or infinity"):
        Starts(torch.full((1, 3, 8, 8), torch.nan), True, "noise")
    network = network_of(seeded(Padded))
    with pytest.raises(SettingsError, match="starts: expected at least 1, got n=0"):
        noise_starts(network, Stimuli.from_array(np.zeros((1, 8, 8), np.uint8), ["a"]), n=0, seed=0)

    class Sized(Stimuli):
        def __init__(self):
            self.ids = ("a", "b")

        def pixels(self, name):
            return np.zeros((8 if name == "a" else 9, 8, 3), np.uint8)

    with pytest.raises(SettingsError, match=r"stimulus 'a' has \(8, 8\) pixels, 'b' \(9, 8\)"):
        stimulus_starts(network, Sized(), ["a", "b"])
