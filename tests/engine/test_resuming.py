"""Passes that go on at a cut: bit by bit what one pass gives, and where there is no cut, none is taken."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from torch.nn import functional

import engine
from engine.blocks import Arena, Block
from engine.errors import CutError
from engine.pipeline import plan_match
from engine.pooling import fast_max_pooling
from engine.resuming import confirmed, find_cuts, resumed
from engine.schema import RUN_SCHEMAS
from tests.engine.small_networks import seeded
from tests.engine.test_matching import matching_of
from tests.engine.worked_example import IMAGE, images, to_input

CPU = torch.device("cpu")
N = 21


class Residual(nn.Module):
    """Two blocks with functional sums, one ReLU called three times, the last one after the second sum in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.pool = nn.MaxPool2d(2)
        self.first = nn.Conv2d(6, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.stem(x))
        x = self.relu(self.first(x) + x)
        x = self.relu(self.second(x) + x)
        return self.head(self.relu(x - 0.1).mean((2, 3)))


class Late(nn.Module):
    """The last layer but one also reads the first."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3)
        self.two = nn.Conv2d(4, 4, 3, padding=1)
        self.three = nn.Conv2d(4, 4, 3, padding=1)
        self.four = nn.Conv2d(8, 4, 3)
        self.five = nn.Conv2d(4, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = self.one(x)
        return self.five(self.four(torch.cat([self.three(self.two(one)), one], 1)))


class Twice(nn.Module):
    """A block that is called twice, with a module of its own that is also called outside."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.act = nn.Tanh()
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), self.act)
        self.head = nn.Conv2d(4, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.head(self.block(self.block(self.act(self.stem(x))))))


class Attention(nn.Module):
    """Every token looks at every other one."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.out(functional.scaled_dot_product_attention(*self.qkv(self.norm(x)).chunk(3, -1)))


class Tokens(nn.Module):
    """Patches, a class token and a position code that are no modules, two blocks of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 5, stride=5)
        self.token, self.position = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(17, 8))
        self.blocks = nn.Sequential(Attention(), Attention())
        self.norm = nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = torch.cat([self.token.expand(len(x), -1, -1), self.patches(x).flatten(2).mT], 1)
        return self.norm(self.blocks(tokens + self.position))


class ImageAgain(nn.Module):
    """The image comes in again at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
        self.last = nn.Conv2d(3, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.two(self.one(x)) + x)


class Asks(ImageAgain):
    """Goes on with the image if a value asks for it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        two = self.two(self.one(x))
        return self.last(two if x.mean() < 99 else x)


class Remembers(ImageAgain):
    """The first layer's output is kept on the module, and read at the end."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.kept = self.one(x)
        return self.last(self.two(self.kept) + self.kept[:, :3])


class Hides(ImageAgain):
    """Does something else where the image has no values, and says nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        try:
            mean = float(x.mean())
        except Exception:
            mean = 0.0
        return self.last(self.two(self.one(x)) * mean)


class Half(nn.Module):
    """Half precision up to the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3).half(), nn.Conv2d(4, 4, 3).half()
        self.last = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(functional.gelu(self.two(self.one(x.half()))).float().mean((2, 3)))


def network_of(module: nn.Module, layers: Sequence[str] | None = None) -> engine.Network:
    return engine.Network.from_module(
        module, to_input, name="small", layers=layers, image_size=(IMAGE, IMAGE), version="1"
    )


def made(kind: type[nn.Module]) -> engine.Network:
    return network_of(seeded(kind))


def recording_of(n: int = N) -> engine.Recording:
    response = np.random.default_rng(0).gamma(2, 5, size=(n, 3))
    return engine.Recording.from_arrays(response, images(n), stimulus_ids=[f"i{k:02d}" for k in range(n)])


def inputs(n: int = 2) -> torch.Tensor:
    return torch.stack([to_input(picture) for picture in images(n)])


def cuts_of(network: engine.Network) -> list[str]:
    found = find_cuts(network, inputs()).layers
    return [name for name in network.layers["name"] if name in found]


CUTS = {
    Residual: {"stem", "pool", "relu", "relu@2", "relu@3", "head"},
    Late: {"one", "four", "five"},
    Twice: {"stem", "act", "block.0", "act@2", "block.0@2", "act@3", "head", "act@4"},
    Tokens: {"patches", "blocks.0", "blocks.1", "norm"},
    Half: {"one", "two", "last"},
    ImageAgain: {"last"},
    Remembers: {"one", "last"},
    Asks: set(),
    Hides: {"last"},
}
"""Layers that are cuts, of those that are not inside a block."""


@pytest.mark.parametrize("kind", CUTS)
def test_cuts_are_the_layers_through_which_alone_later_ones_depend_on_earlier_ones(kind):
    network = made(kind)
    found = set(cuts_of(network))
    assert found >= CUTS[kind]
    assert kind is Hides or {name for name in found if name.count(".") < 2} == CUTS[kind]


@pytest.mark.parametrize("kind", CUTS)
def test_cuts_that_are_wrongly_assumed_are_noticed(kind):
    network = made(kind)
    good = confirmed(network, network.layers["name"].tolist(), inputs())
    assert {name for name in good if name.count(".") < 2} == CUTS[kind]


def test_at_a_wrong_cut_a_pass_stops_and_gives_no_number():
    network = made(ImageAgain)
    block = Block(torch.zeros(2, 3 * IMAGE**2), (3, IMAGE, IMAGE))
    with resumed(network, "two", block, inputs()) as begin, torch.inference_mode():
        answer = network.module(begin(slice(0, 2)))
        with pytest.raises(CutError, match="cannot do without the values from before the cut"):
            float(answer.sum())
        with pytest.raises(CutError, match="would write what has no values"):
            torch.zeros(answer.shape).copy_(answer)


def outcome(network, recording, passes, *, keeps: Sequence[str | None] = (), memory_of: int = 1):
    """Results of all layers, passed in groups, each of which goes on where the one before kept a layer."""
    matching = matching_of(network, recording)
    units = network.layers.set_index("name")["units"]
    arena = Arena(memory_of * sum(Arena.bytes_for(N, int(n)) for n in units), CPU)
    found, cut = {}, None
    for group, keep in zip(passes, [*keeps, None], strict=True):
        found |= dict(matching.hold(group, arena, cut=cut, keep=keep))
        cut = keep or cut
    return found


@pytest.mark.parametrize("layout", ["as it comes", "channels last"])
@pytest.mark.parametrize("kind", [Residual, Late, Twice, Tokens, Half])
def test_from_every_cut_all_later_layers_are_bitwise_those_of_one_pass(kind, layout):
    module = seeded(kind)
    if layout == "channels last":
        module = module.to(memory_format=torch.channels_last)
    network, recording = network_of(module), recording_of()
    names = network.layers["name"].tolist()
    whole = outcome(network, recording, [names])
    with fast_max_pooling(module):
        for cut in cuts_of(network):
            for at in {names.index(cut), names.index(cut) + 1} - {0, len(names)}:
                parted = outcome(network, recording, [names[:at], names[at:]], keeps=[cut], memory_of=2)
                for name in names:
                    xr.testing.assert_identical(parted[name], whole[name])
    assert not any("forward" in vars(one) for one in module.modules())


def test_what_is_kept_outlasts_passes_that_write_all_over_their_memory():
    network, recording = made(Residual), recording_of()
    names = network.layers["name"].tolist()
    whole = outcome(network, recording, [names])
    parted = outcome(
        network,
        recording,
        [names[:2], names[2:3], names[3:4], names[4:6], names[6:]],
        keeps=["pool", None, "relu", "relu@2"],
    )
    for name in names:
        xr.testing.assert_identical(parted[name], whole[name])


def test_a_pass_at_a_wrong_cut_starts_again_at_the_images():
    network, recording = made(ImageAgain), recording_of()
    names = network.layers["name"].tolist()
    whole = outcome(network, recording, [names])
    for name, result in outcome(network, recording, [names[:2], names[2:]], keeps=["two"]).items():
        xr.testing.assert_identical(result, whole[name])


def test_where_memory_is_not_enough_a_resumed_pass_is_repeated_with_half_a_batch(monkeypatch):
    network, recording = made(Residual), recording_of()
    names = network.layers["name"].tolist()
    expected = outcome(network, recording, [names[:2], names[2:4], names[4:]], keeps=["pool", "relu"])
    forward, sizes = type(network.module).forward, []

    def limited(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(sizes) == 4:  # the first batch of the second pass has been kept
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(module, x)

    monkeypatch.setattr(type(network.module), "forward", limited)
    found = outcome(network, recording, [names[:2], names[2:4], names[4:]], keeps=["pool", "relu"])
    assert sizes == [16, 5, 16, 5, 8, 8, 5, 16, 5]
    for name in names:
        np.testing.assert_allclose(found[name]["map_r"], expected[name]["map_r"], atol=5e-6)


@pytest.fixture
def eager(monkeypatch):
    """Look for cuts however little they save, and take forward passes for dear."""
    monkeypatch.setattr("engine.pipeline.LOOK_S", -1.0)
    monkeypatch.setattr("engine.pipeline.SHAPES_BYTES", 0)

    def dear(*args):
        costs = measured(*args)
        return type(costs)(**{**vars(costs), "reach_s": {name: 9 * s for name, s in costs.reach_s.items()}})

    from engine.costs import measure_costs as measured

    monkeypatch.setattr("engine.pipeline.measure_costs", dear)


MORE_MIB = 1
"""For the copies of a batch of a cut; too little to hold all layers at once."""


def smallest_memory(network, recording) -> int:
    with pytest.raises(engine.errors.MemoryBudgetError) as error:
        plan_match(network, recording, memory="1MiB")
    return int(str(error.value).split("memory=")[2].split("MiB")[0])


def test_a_match_in_little_memory_is_that_in_one_pass(eager, tmp_path):
    network, recording = made(Residual), recording_of(201)
    memory = f"{smallest_memory(network, recording) + MORE_MIB}MiB"
    plan = plan_match(network, recording, memory=memory)
    assert any(plan.cuts)
    assert plan.peak <= plan.memory
    ample = engine.match(network, recording, memory="1GiB", store=tmp_path / "ample", progress=False)
    tight = engine.match(network, recording, memory=memory, store=tmp_path / "tight", progress=False)
    assert "from where another stopped" in tight.manifest["compute"]["plan"]
    for name in RUN_SCHEMAS:
        xr.testing.assert_identical(tight.dataset(name), ample.dataset(name))


def test_only_confirmed_cuts_are_taken(eager, monkeypatch):
    network, recording = made(Residual), recording_of(201)
    memory = f"{smallest_memory(network, recording) + MORE_MIB}MiB"
    monkeypatch.setattr("engine.pipeline.confirmed", lambda network, cuts, inputs: [])
    assert not any(plan_match(network, recording, memory=memory).cuts)


def test_a_kept_block_and_those_of_the_next_pass_share_no_memory():
    shapes = {"a": (2, 3, 3), "b": (5, 2, 2), "c": (1, 9, 9)}
    arena, kept = Arena(4 * Arena.bytes_for(7, 81), CPU), None
    for outlasting in ("b", "a", None, "c", "b"):
        blocks = arena.blocks(7, shapes, kept=kept, outlasting=outlasting)
        spans = sorted(
            (block.values.storage_offset(), block.values.storage_offset() + block.values.numel())
            for block in (*blocks.values(), *([] if kept is None else [kept]))
        )
        assert all(stop <= start for (_, stop), (start, _) in pairwise(spans))
        kept = blocks[outlasting] if outlasting else kept
