"""A report: every figure in it, nothing asked for outside, no stimulus unless asked, and what is refused before."""

import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

from dashboard.registry import FIGURES, Asked
from dashboard.report import _drawn, report, write_report
from dashboard.runs import OpenRun
from dashboard.views.report_page import _table
from engine.errors import RunNotFoundError, SettingsError
from engine.store import add_group, open_run
from tests.dashboard.stores import put
from tests.dashboard.test_figure_files import counted

SHOWN = ("responses", "every_site", "rotation")
PAYLOAD = "<img src=x onerror=alert(1)>"


def shown(html):
    """What the page holds besides its library."""
    return html[html.rindex("<main>") :]


class Page(HTMLParser):
    """What a browser would make of the page: its addresses, figures, scripts and the cells of its tables of sites."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses, self.figures, self.handlers = [], [], []
        self.rows: dict[str, list[list[str]]] = {}
        self._region = self._cell = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.addresses += [found[name] for name in ("src", "href", "action", "poster") if found.get(name)]
        self.handlers += [name for name in found if name.startswith("on")]
        if "data-figure" in found:
            self.figures.append(found["data-figure"])
        if tag == "table":
            self._region = found.get("data-region")
        elif tag == "tr" and self._region:
            self.rows.setdefault(self._region, []).append([])
        self._cell = tag == "td" and self._region is not None

    def handle_endtag(self, tag):
        self._cell = False

    def handle_data(self, data):
        if self._cell:
            self.rows[self._region][-1].append(data)


def renamed(run):
    """The run with a site and a layer that are named like an attack."""
    found = {name: dataset.copy(deep=True) for name, dataset in run.items()}
    for name, dataset in found.items():
        for of in ("site", "layer"):
            if of in dataset.variables:
                old = dataset[of].values.astype(object)
                new = np.where(np.isin(old, ["site02", "fire2"]), f"{PAYLOAD}{of}", old)
                found[name] = (
                    found[name].assign_coords({of: (dataset[of].dims, new)})
                    if of in dataset.coords
                    else (found[name].assign({of: (dataset[of].dims, new)}))
                )
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory, run_datasets):
    """A run with an attack for a name, its report, and what a browser makes of it."""
    root = tmp_path_factory.mktemp("store")
    run = put(root, renamed({**run_datasets, "neural_correlation": counted(run_datasets)}))
    with pytest.MonkeyPatch.context() as patch:  # the other figures are drawn below, without a page
        patch.setattr("dashboard.report.FIGURES", {name: FIGURES[name] for name in SHOWN})
        file = write_report(run, root / "report.html")
    html = file.read_text(encoding="utf-8")
    return run, html, Page(html)


def test_nothing_is_asked_for_outside(written):
    _, html, page = written
    assert [address for address in page.addresses if not address.startswith(("#", "data:"))] == []
    assert page.handlers == []
    assert not re.findall(r"url\((?!data:)", html.split("</style>")[0])
    assert "img/" not in shown(html)
    assert len(html) < 10e6


def test_every_figure_that_the_run_allows_is_there_and_the_others_are_named(written):
    run, html, page = written
    entries, absent = _drawn(OpenRun(run), [], {"V4": ["site03"], "IT": []}, False)
    drawn, named = {entry.figure.name for entry in entries}, {one.figure.name for one in absent}
    for name, figure in FIGURES.items():
        lacks = [group for group in figure.groups if group not in run.names]
        assert (name in drawn) == (not lacks and not figure.n_others and name != "gallery"), name
        assert (name in named) == (name not in drawn and name != "gallery"), name
    assert [entry.of for entry in entries if entry.figure.name in ("responses", "every_site")] == ["V4", "IT", "site03"]
    assert [page.figures.count(name) for name in SHOWN] == [2, 2, 0]
    assert f"unitscope analyse {run.digest[:12]} rotation" in html
    assert f"unitscope export {run.digest[:12]} every_site --region=V4" in html
    assert "SIMULATED" in html.split("Figures")[0]


def test_the_tables_hold_the_numbers_of_the_run(written, run_datasets):
    _, _, page = written
    best = run_datasets["matches"].isel(rank=0)
    regions = run_datasets["recording"]["region"].values
    for region in ("V4", "IT"):
        rows = [row for row in page.rows[region] if row]
        own = regions == region
        assert len(rows) == own.sum()
        ceiling = run_datasets["reliability"]["noise_ceiling"].values[own]
        for column, values in ((1, best["correlation"].values[own]), (2, best["held_out"].values[own]), (3, ceiling)):
            told = sorted(float(row[column].replace("−", "-")) for row in rows)
            np.testing.assert_allclose(told, sorted(values), atol=5e-4)


def test_the_data_of_a_figure_stand_below_it(written, run_datasets):
    run, html, _ = written
    card = next(part for part in html.split('<section class="card"') if 'data-figure="responses"' in part)
    table = re.search(r'<details class="data">.*?</details>', card, re.S).group()
    heads, *rows = [re.findall(r"<t[dh][^>]*>([^<]*)<", row) for row in re.findall(r"<tr>(.*?)</tr>", table, re.S)]
    opened = OpenRun(run)
    site = opened.sites("V4").index[0]
    data = FIGURES["responses"].data(Asked(opened, site=site, region="V4"))
    assert heads == [name.replace("_", " ") for name in data.columns]
    assert len(rows) == len(data) == 120
    site_sd, unit_sd = (
        [float(row[heads.index(name)].replace("−", "-")) for row in rows] for name in ("site sd", "unit sd")
    )
    assert np.corrcoef(site_sd, unit_sd)[0, 1] == pytest.approx(opened.sites("V4")["r"].iloc[0], abs=0.005)


def test_long_data_are_cut_and_the_page_says_where_all_are(written, monkeypatch):
    monkeypatch.setattr("dashboard.views.report_page.MOST_ROWS", 7)
    run, *_ = written
    entries, _ = _drawn(OpenRun(run), [], {"V4": ["site03"], "IT": []}, False)
    shown = str(_table(next(entry for entry in entries if entry.figure.name == "responses")))
    assert shown.count("<tr>") == 1 + 7
    assert "the first 7 of 120 rows; the command under “What it shows, and how to make it again” writes all" in shown


def test_names_are_text(written):
    _, html, page = written
    assert f"{PAYLOAD}site" not in re.sub(r"<script.*?</script>", "", html, flags=re.S)
    assert any(row and row[0] == f"{PAYLOAD}site" for row in page.rows["V4"])
    assert not any(address == "x" for address in page.addresses)


def test_stimuli_are_in_it_only_where_that_was_asked_for(written, tmp_path, monkeypatch):
    run, html, _ = written
    monkeypatch.setattr("dashboard.report.FIGURES", {name: FIGURES[name] for name in ("responses", "gallery")})
    assert "data:image/jpeg" not in html
    assert "data:image" not in shown(html)
    with_images = write_report(run, tmp_path / "a.html", with_images=True).read_text(encoding="utf-8")
    assert with_images.count("data:image/jpeg") == 1
    assert "var(--us-sprite)" in with_images
    assert "-48px -96px" in with_images


def test_p_stands_in_the_table_where_it_is_known(run_datasets, tmp_path, monkeypatch):
    monkeypatch.setattr("dashboard.report.FIGURES", {})
    run = put(tmp_path, run_datasets)
    sites = run_datasets["recording"]["site"].values
    p = xr.Dataset({name: ("site", np.linspace(0.01, 0.5, len(sites))) for name in ("p", "q")}, {"site": sites})
    add_group(run, "significance", p, {"analysis_version": 0})
    page = Page(write_report(open_run(run.path), tmp_path / "a.html").read_text(encoding="utf-8"))
    assert {row[0]: row[4] for row in page.rows["V4"] if row}["site00"] == "0.01"


@pytest.mark.parametrize(
    ("file", "chosen", "message"),
    [
        ("a.pdf", {}, r"a\.pdf: expected a name that ends in \.html"),
        ("no/a.html", {}, r"there is no folder .*no\. Make it, or name another"),
        ("mine.html", {}, r"mine\.html is there already and is not a report\. Name another file with -o"),
        ("a.html", {"sites": ["v9"]}, r"planted has no site 'v9'; the best match is "),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_drawn(written, tmp_path, file, chosen, message):
    (tmp_path / "mine.html").write_text("<p>mine")
    with pytest.raises(SettingsError, match=message):
        write_report(written[0], tmp_path / file, **chosen)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.html"]


def test_a_folder_that_cannot_be_written_to_is_named(written, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(SettingsError, match=r"cannot be written to\. Name a folder of yours"):
        write_report(written[0], tmp_path / "a.html")


def test_the_disk_may_fail(written, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dashboard.report._drawn", lambda *_: ([], []))
    monkeypatch.setattr("os.replace", full)
    with pytest.raises(SettingsError, match=r"a\.html cannot be written: No space left on device"):
        write_report(written[0], tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_one_and_an_unknown_run_is_said(written, tmp_path, monkeypatch):
    run = written[0]
    monkeypatch.setattr("dashboard.report._drawn", lambda *_: ([], []))
    done = CliRunner().invoke(report, [str(run.path), "-o", str(tmp_path / "a.html")])
    assert done.exit_code == 0
    assert re.fullmatch(rf"{re.escape(str(tmp_path))}/a\.html  \d\.\d MB\n", done.output)
    again = CliRunner().invoke(report, [str(run.path), "-o", str(tmp_path / "a.html")])
    assert again.exit_code == 0
    missing = CliRunner().invoke(report, ["nothing@nowhere", "-o", str(tmp_path / "b.html"), "--store", str(tmp_path)])
    assert isinstance(missing.exception, RunNotFoundError)
    other = open_run(run.path)
    other.manifest["digests"]["responses"] = "changed"
    with pytest.raises(RunNotFoundError, match="networks are compared on one recording"):
        write_report(run, tmp_path / "c.html", others=[other])


def test_report_is_a_command_of_unitscope():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["unitscope.commands"]["report"] == "dashboard.report:report"
