"""The selection and the address that holds it."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.state import ADDRESS, Selection

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(TEXT, TEXT, TEXT, TEXT, st.integers(0, 99), st.sampled_from(["overview", "site", "runner-ups"]))
def test_an_address_brings_back_what_was_chosen(network, recording, site, stimulus, rank, page):
    chosen = Selection(network=network, recording=recording, site=site, stimulus=stimulus, rank=rank, page=page)
    again = Selection()
    again.read(chosen.query())
    assert {name: getattr(again, name) for name in ADDRESS} == {name: getattr(chosen, name) for name in ADDRESS}


def test_an_address_leaves_out_what_is_not_chosen():
    query = dict(parse_qsl(Selection(site="site03").query().removeprefix("?")))
    assert query == {"page": "overview", "site": "site03"}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?",
        "?page=nowhere",
        "?rank=-1",
        "?rank=1e3",
        "?rank=%D9%A3",
        "?theme=pink",
        "?unknown=1",
        "?site=" + "x" * 400,
        "&" * 9000,
    ],
)
def test_an_address_that_makes_no_sense_chooses_nothing(query):
    selection = Selection(site="site03", rank=7)
    selection.read(query)
    assert {name: getattr(selection, name) for name in ADDRESS} == {
        name: getattr(Selection(), name) for name in ADDRESS
    }


def test_a_rank_beyond_all_bounds_is_cut():
    selection = Selection()
    selection.read("?rank=" + "9" * 30)
    assert selection.rank == 100_000


def test_reading_an_address_reaches_watchers_once():
    selection, seen = Selection(), []
    selection.param.watch(lambda *events: seen.append({event.name for event in events}), list(ADDRESS))
    selection.read("?page=site&site=site03&rank=2")
    assert seen == [{"page", "site", "rank"}]
