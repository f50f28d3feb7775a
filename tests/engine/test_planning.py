"""Plans that fit, and the message when nothing does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import MemoryBudgetError, SettingsError
from engine.planning import LayerSize, parse_memory, plan_passes

MIB = 2**20
LAYERS = [LayerSize(f"layer{i}", units) for i, units in enumerate([800_000, 400_000, 400_000, 90_000, 10_000])]


def plan(memory: int, **changes: int):
    settings = {
        "bytes_per_unit": lambda batch: 1000 if batch >= 16 else 2000,
        "input_bytes": 600_000,
        "fixed_bytes": 100 * MIB,
        "largest_units": 800_000,
        "n_stimuli": 640,
    }
    return plan_passes(LAYERS, memory=memory, **{**settings, **changes})


@given(memory=st.integers(900, 8000).map(lambda m: m * MIB))
def test_every_plan_fits_and_holds_each_layer_once_in_order(memory):
    try:
        made = plan(memory)
    except MemoryBudgetError:
        return
    assert made.peak <= memory
    assert [name for group in made.passes for name in group] == [layer.name for layer in LAYERS]


def test_ample_memory_means_one_pass_and_the_largest_batch():
    made = plan(8000 * MIB)
    assert (len(made.passes), made.batch) == (1, 64)


def test_less_memory_means_more_passes():
    assert len(plan(1200 * MIB).passes) > 1


def test_too_little_memory_names_the_smallest_that_does():
    with pytest.raises(MemoryBudgetError, match=r"at least .* Give memory=(\d+)MiB or more") as error:
        plan(300 * MIB)
    enough = int(str(error.value).split("memory=")[2].split("MiB")[0])
    assert plan(enough * MIB).peak <= enough * MIB
    with pytest.raises(MemoryBudgetError):
        plan((enough - 1) * MIB)


@pytest.mark.parametrize(
    ("text", "n_bytes"), [("4GiB", 4 * 2**30), ("512 MB", 512 * 10**6), (1000, 1000), ("1.5 kib", 1536)]
)
def test_memory_is_read_as_written(text, n_bytes):
    assert parse_memory(text) == n_bytes


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "4 apples", 0])
def test_nonsense_is_no_memory(text):
    with pytest.raises(SettingsError, match="Write for example '4GiB'"):
        parse_memory(text)
