"""The data of a figure as a table: the same rows and columns as its csv, as text."""

import re
import time
from html import unescape

import numpy as np
import pandas as pd
import pytest

from dashboard.results import Results
from dashboard.state import PAGES
from dashboard.views.session import Session
from dashboard.views.tabulated import MOST_ROWS, tabulated
from tests.dashboard.stores import put


def cells(html: str, kind: str) -> list[str]:
    return [unescape(text) for text in re.findall(rf"<{kind}[^>]*>([^<]*)</{kind}>", html)]


def rows(html: str) -> list[list[str]]:
    return [cells(row, "td") for row in re.findall(r"<tr>(.*?)</tr>", html)[1:]]


@pytest.fixture(scope="module")
def session(tmp_path_factory, run_datasets) -> Session:
    root = tmp_path_factory.mktemp("store")
    put(root, run_datasets)
    return Session(Results(root), {"page": "site", "site": "site02"})


def test_the_table_of_a_figure_has_every_row_and_column_of_its_data(session):
    session.act({"do": "table", "figure": "layers"})
    (page,) = [page for page in session.pages.values() if page.name == "site"]
    data, shown = page.cards["layers"].data, session.bar.written["tabulated"]
    assert cells(shown, "th") == [name.replace("_", " ") for name in data.columns]
    assert [row[0] for row in rows(shown)] == data["layer"].tolist()
    r = [float(row[data.columns.get_loc("correlation")].replace("−", "-")) for row in rows(shown)]
    np.testing.assert_allclose(r, data["correlation"], atol=5e-4)
    assert "<h3>Best match in each layer</h3>" in shown
    assert f"{len(data)} rows" in shown


@pytest.mark.parametrize("name", PAGES)
def test_every_figure_of_every_page_has_its_table(session, name):
    session.act({"do": "select", "page": name})
    page = next(page for page in session.pages.values() if page.name == name)
    for figure, card in page.cards.items():
        if 'data-do="table"' not in page.shown.written.get(f"{figure}-head", ""):
            continue
        wait_until(lambda card=card: not card.is_counting)
        session.act({"do": "table", "figure": figure})
        shown = session.bar.written["tabulated"]
        assert session.bar.written["notice"] == ""
        assert f'data-figure="{figure}"' in shown
        assert "run " in shown
        assert len(rows(shown)) == min(len(page.table(figure, session.results.choose(session.selection))), MOST_ROWS)


def wait_until(is_so) -> None:
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_figure_that_is_not_there_shows_no_table(session):
    before = session.bar.written.get("tabulated", "")
    for name in ("../../x", "favourites", "no such figure"):
        session.act({"do": "table", "figure": name})
    assert session.bar.written["notice"] == ""
    assert session.bar.written.get("tabulated", "") == before


def test_numbers_have_the_digits_they_deserve_and_names_are_text():
    table = pd.DataFrame(
        {
            "site": ["<b>a</b>", "b"],
            "r": [0.123456, -0.5],
            "activation": [12.3456, np.nan],
            "tiny": [1.23456e-5, 0.0],
            "p": [0.9, 1e-6],
            "wide": [250.2, 0.4],
            "n_units": [1234567, -1],
            "is_sparse": [True, False],
        }
    )
    html = tabulated(table, "f", "T", "c")
    assert rows(html) == [
        ["<b>a</b>", "0.123", "12.3", "0.0000123", "0.900", "250", "1,234,567", "yes"],
        ["b", "−0.500", "n/a", "0.0000000", "1e−06", "0.4", "−1", "no"],
    ]
    assert "<b>" not in html


def test_of_a_long_table_the_first_rows_are_shown_and_the_csv_is_named():
    html = tabulated(pd.DataFrame({"x": np.arange(MOST_ROWS + 500)}), "f", "T", "")
    assert len(rows(html)) == MOST_ROWS
    assert "the first 1,000 of 1,500 rows; csv has all" in html
    assert 'data-do="export" data-figure="f" data-kind="csv"' in html


def test_a_column_without_a_number_is_unknown():
    assert rows(tabulated(pd.DataFrame({"r": [np.nan, np.inf]}), "f", "T", "")) == [["n/a"], ["n/a"]]
