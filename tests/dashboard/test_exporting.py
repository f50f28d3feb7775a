"""What leaves the page as a file: plain names, inside their folder, and nothing that a spreadsheet would run."""

import base64
import csv
import io
import re
import string
from concurrent.futures import Future
from pathlib import PureWindowsPath

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import exporting
from dashboard.figures import responses
from dashboard.results import Results
from dashboard.views.session import Session
from engine.interchange import as_csv
from tests.dashboard.conftest import build_run
from tests.dashboard.stores import put

NAMES = [
    "../../etc/passwd",
    "..\\..\\windows",
    "/etc/passwd",
    "C:\\x",
    "a\0b",
    "a\nb",
    "CON",
    "con.svg",
    "nul",
    "COM1",
    ".bashrc",
    "-rf",
    "x" * 300,
    "é" * 300,
    "",
    ".",
    "..",
    "‮gnp.exe",
    "=cmd|' /C calc'!A0",
]
FORMULAS = [
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2",
    "@SUM(A1)",
    "\t=1",
    "\n=1",
    "＝1+1",
    '=HYPERLINK("http://evil")',
]
PLAIN = set(string.ascii_letters + string.digits + "_-.")


def is_plain(name: str) -> bool:
    """Say whether a name is one file everywhere, in the folder that it is written to."""
    stem = name.partition(".")[0]
    return set(name) <= PLAIN and len(name) <= 125 and name[0] not in ".-" and stem.upper() not in exporting._DEVICES


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_named_plainly_whatever_its_parts_are_called(name):
    for parts in ((name,), (name, "fine"), ("fine", name)):
        made = exporting.file_name(*parts, kind="csv")
        assert is_plain(made), made
        assert made == PureWindowsPath(made).name
        assert made.endswith(".csv")
    assert not is_plain("CON.svg")
    assert not is_plain("../x.svg")


@given(st.lists(st.text(max_size=200), min_size=1, max_size=4))
def test_a_file_is_named_plainly_for_any_text(parts):
    assert is_plain(exporting.file_name(*parts, kind="svg"))


@pytest.mark.parametrize("text", FORMULAS)
def test_a_spreadsheet_runs_no_cell_and_no_head(text):
    table = pd.DataFrame({"site": pd.Series([text, "fine"], dtype=object), text: [-0.5, 0.1]})
    rows = list(csv.reader(io.StringIO(as_csv(table).decode(), newline="")))
    assert rows[0] == ["site", f"'{text}"]
    assert rows[1] == [f"'{text}", "-0.5"]
    assert rows[2] == ["fine", "0.1"]
    careless = list(csv.reader(io.StringIO(table.to_csv(index=False), newline="")))  # the control
    assert (careless[0][1], careless[1][0]) == (text, text)


def test_a_cell_ends_no_row_and_no_text():
    """A carriage return that is not in quotes begins a row, and that row with a formula."""
    assert as_csv(pd.DataFrame({"site": ["a\0=b", "a\r=b"]})) == "site\na�=b\na�=b\n".encode()


@pytest.mark.parametrize("evil", ["../../=cmd|x"])
def test_what_a_page_lets_a_browser_save_is_plain(tmp_path, monkeypatch, evil):
    run = build_run(sites={"V4": 3}, n_stimuli=30, layers=(("one", 2, 2), ("two", 3, 1)), n_ranks=5)
    sites = {str(site): f"{evil}{k}" for k, site in enumerate(run["recording"]["site"].values)}
    for name, dataset in run.items():
        if "site" in dataset.coords:
            run[name] = dataset.assign_coords(
                site=(dataset["site"].dims, [sites[str(s)] for s in dataset["site"].values])
            )
    put(tmp_path, run, network=evil, title=evil, recording=evil)
    session, saved = Session(Results(tmp_path), {"page": "site"}), []
    monkeypatch.setattr(session.browser, "download", lambda *told: saved.append(told))
    session.act({"do": "export", "figure": "every_site", "kind": "csv"})
    session.act({"do": "export", "figure": "layers", "kind": "csv"})
    session.act({"do": "export", "figure": "responses", "kind": "../svg"})
    session.act({"do": "export", "figure": "../../x", "kind": "svg"})
    assert saved
    for name, kind, content in saved:
        assert is_plain(name)
        assert kind == "text/csv"
        cells = [cell for row in csv.reader(io.StringIO(base64.b64decode(content).decode())) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "@", "+"))]


def test_a_figure_from_the_page_says_what_it_shows_and_what_its_marks_mean(tmp_path, monkeypatch):
    put(tmp_path, build_run(sites={"V4": 3}, n_stimuli=30, layers=(("one", 2, 2), ("two", 3, 1)), n_ranks=5))
    session, saved = Session(Results(tmp_path), {"page": "site"}), []
    monkeypatch.setattr(session.browser, "download", lambda *told: saved.append(told))
    session.act({"do": "export", "figure": "responses", "kind": "svg"})
    ((_, _, content),) = saved
    told = re.sub(r"<[^>]*>", " ", base64.b64decode(content).decode())
    for words in (responses.TITLE, "favourites of the site", "of the unit", "selected"):
        assert words in told


def test_files_are_announced_while_they_are_drawn_and_the_first_says_why_it_takes_seconds(tmp_path, run_datasets):
    put(tmp_path, run_datasets)
    session = Session(Results(tmp_path))
    session._being_drawn["a.svg"] = False
    session._announce("a.svg", Future())
    assert "Drawing a.svg … The first one takes some seconds" in session.bar.written["notice"]
    session.refresh()
    assert "Drawing a.svg …" in session.bar.written["notice"]
    drawn: Future[bytes] = Future()
    drawn.set_result(b"<svg>")
    session._being_drawn["b.svg"] = False
    session._announce("b.svg", drawn)  # it is there by now
    session._drawn("a.svg", drawn)
    assert session.bar.written["notice"] == ""
