"""Plans that fit, the fastest of them, and the message when nothing does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import MemoryBudgetError, SettingsError
from engine.planning import LayerSize, Plan, Seconds, Way, format_seconds, parse_memory, plan_passes

MIB = 2**20
LAYERS = [LayerSize(f"layer{i}", units) for i, units in enumerate([800_000, 400_000, 400_000, 90_000, 10_000])]
FORWARD_S = {layer.name: seconds for layer, seconds in zip(LAYERS, [1.0, 2.0, 3.0, 3.5, 4.0], strict=True)}
HELD = Way(True, 16, 2560, 300 * MIB)
SUMMED = [Way(False, batch, 700, (200 + 7 * batch) * MIB) for batch in (64, 8, 4)]


def plan(memory: int, *ways: Way, fresh_s: float = 0.0, decode_s: float = 1.0) -> Plan:
    def summarise(way: Way, n_units: int) -> float:
        return 0.0 if way.is_held else 1.0

    seconds = Seconds(decode_s, FORWARD_S, summarise, lambda n_bytes: fresh_s * n_bytes / 2**30, lambda n_bytes: 0.0)
    return plan_passes(LAYERS, ways or (HELD, *SUMMED), seconds, inputs_bytes=400 * MIB, memory=memory)


@given(memory=st.integers(700, 9000).map(lambda m: m * MIB))
def test_every_plan_fits_and_holds_each_layer_once_in_order(memory):
    try:
        made = plan(memory)
    except MemoryBudgetError:
        return
    assert made.peak <= memory
    assert [name for group in made.passes for name in group] == [layer.name for layer in LAYERS]


def test_with_room_for_all_activations_one_pass_holds_them():
    made = plan(8000 * MIB)
    assert (len(made.passes), made.is_held, made.seconds) == (1, True, 5.0)


def test_where_fresh_memory_is_dear_products_are_summed_and_the_best_scored_in_a_second_pass():
    made = plan(8000 * MIB, fresh_s=9.0)
    assert (made.is_held, made.batch, made.keeps_inputs) == (False, 64, True)
    assert made.seconds == pytest.approx(4 + 4 + 1 + 1 + 9 * 1_700_000 * 700 / 2**30)


def test_where_fresh_memory_is_dear_more_passes_hold_less():
    cheap, dear = plan(8000 * MIB, HELD), plan(8000 * MIB, HELD, fresh_s=2.0)
    assert len(cheap.passes) == 1 < len(dear.passes)
    assert dear.peak < cheap.peak
    assert dear.seconds < 4 + 1 + 2 * 1_700_000 * 2560 / 2**30


def test_less_memory_means_more_passes_and_the_first_ends_early():
    made = plan(2500 * MIB, HELD)
    assert made.passes == (("layer0",), ("layer1", "layer2", "layer3", "layer4"))
    assert made.seconds == 1 + 4 + 2  # each pass decodes


def test_inputs_are_kept_where_that_costs_no_further_pass():
    assert plan(3000 * MIB, HELD).keeps_inputs
    assert not plan(3000 * MIB, HELD, decode_s=0.0).keeps_inputs


def test_small_batches_are_slow():
    assert plan(1400 * MIB, *SUMMED[1:]).batch == 8


def test_too_little_memory_names_the_smallest_that_does():
    with pytest.raises(MemoryBudgetError, match=r"at least .* Give memory=(\d+)MiB or more") as error:
        plan(300 * MIB)
    enough = int(str(error.value).split("memory=")[2].split("MiB")[0])
    assert plan(enough * MIB).peak <= enough * MIB
    with pytest.raises(MemoryBudgetError):
        plan((enough - 1) * MIB)


def test_a_plan_says_what_it_does():
    assert plan(8000 * MIB).describe() == (
        "1 pass over the stimuli, 16 at a time, activations held; about 4.35 GiB of 7.81 GiB, about 5 s"
    )
    assert "2 passes over the stimuli, 8 at a time, products summed, then one pass to score the best" in (
        plan(1100 * MIB).describe()
    )


@pytest.mark.parametrize(("seconds", "text"), [(0.123, "0.12 s"), (42, "42 s"), (240, "4 min"), (9000, "2.5 h")])
def test_a_duration_has_two_digits(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("text", "n_bytes"), [("4GiB", 4 * 2**30), ("512 MB", 512 * 10**6), (1000, 1000), ("1.5 kib", 1536)]
)
def test_memory_is_read_as_written(text, n_bytes):
    assert parse_memory(text) == n_bytes


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "4 apples", 0])
def test_nonsense_is_no_memory(text):
    with pytest.raises(SettingsError, match="Write for example '4GiB'"):
        parse_memory(text)
