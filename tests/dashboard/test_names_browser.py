"""Names that are attacks, in every field that a user names and on every page: shown as they are, never run."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch
from torch import nn

import engine
from dashboard.jobs import FAILED, Task
from dashboard.registry import FIGURES
from dashboard.report import write_report
from dashboard.requests import MatchRequest
from dashboard.results import Results
from dashboard.views.keys import GO
from engine.analyses import TITLES
from engine.errors import EngineError
from tests.browsers import entry, served
from tests.engine.worked_example import images, to_input

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

PAYLOADS = {
    "image": "<img src=x onerror=ran(1)>",
    "script": '"><script>ran(1)</script>',
    "vector": "<svg onload=ran(1)>",
    "attribute": "' onmouseover='ran(1)' autofocus onfocus='ran(1)",
    "entities": "&lt;img src=x onerror=ran(1)&gt;",
    "template": "{{ran(1)}}${ran(1)}@{site}{safe}<b onclick=ran(1)>",
}
WATCH = """window.runs = []; window.ran = (k) => runs.push(k);
addEventListener('securitypolicyviolation', (e) => runs.push(`${e.violatedDirective} ${e.blockedURI} ${e.sample}`));"""
LOOK = """() => {
  const every = (node) => [...node.querySelectorAll('*')].flatMap(
    (e) => [e, ...(e.shadowRoot ? every(e.shadowRoot) : [])]);
  const found = every(document);
  const handlers = ['onerror', 'onload', 'onclick', 'onmouseover', 'onfocus'];
  const alive = found.filter((e) => handlers.some((name) => e.hasAttribute(name)) || e.matches('img[src=x]'));
  const texts = found.filter((e) => !e.matches('style, script'))
    .flatMap((e) => [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data));
  return {alive: alive.map((e) => e.outerHTML.slice(0, 200)), texts: texts.join('\\n'), runs, title: document.title};
}"""
FIELDS = ("network", "recording", "region", "site", "layer", "stimulus")
"""What is shown as text somewhere; other fields are in figures or nowhere."""


class Evil(nn.Module):
    """A network whose layer is named like an attack."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.attack = name
        self.add_module(name, nn.Conv2d(3, 4, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._modules[self.attack](x)


def named(payload: str) -> dict[str, str]:
    """Return the names of all fields; each tells which one it is."""
    return {field: f"{field} {payload}" for field in (*FIELDS, "category", "animal", "source", "licence", "object")}


def attack(root: Path, payload: str, *, analyses: bool) -> engine.Run:
    """Match a network against a recording that are named so, in every field."""
    name, n_images, n_sites, rng = named(payload), 24, 4, np.random.default_rng(0)
    recording = engine.Recording.from_arrays(
        rng.gamma(2, 3, (n_images, n_sites, 3)),
        images(n_images),
        stimulus_ids=[f"{k} {name['stimulus']}" for k in range(n_images)],
        site_ids=[f"{k} {name['site']}" for k in range(n_sites)],
        region=[name["region"]] * n_sites,
        size_deg=8.0,
        name=name["recording"],
        site_coords={"animal": [name["animal"]] * n_sites},
        stimulus_coords={
            "category": [f"{k % 3} {name['category']}" for k in range(n_images)],
            "object": [f"{k % 6} {name['object']}" for k in range(n_images)],
        },
        attrs={"source": name["source"], "licence": name["licence"]},
    )
    network = engine.Network.from_module(Evil(name["layer"]), to_input, name=name["network"], image_size=(20, 20))
    run = engine.match(network, recording, progress=False, memory="1GiB", store=root, shuffles=4)
    for analysis in TITLES if analyses else ():
        try:
            settings = {"site": f"0 {name['site']}"} if analysis == "unit_correlations" else {}
            engine.analyse(run, analysis, network=network, recording=recording, progress=False, **settings)
        except EngineError:
            continue  # what so few images do not allow
    return run


class Watched:
    """A page that counts what ran in it, what was refused, and what is alive of the names."""

    def __init__(self, chromium) -> None:
        self.page = chromium.new_context(viewport={"width": 1440, "height": 900}).new_page()
        self.page.add_init_script(WATCH)
        self.said: list[str] = []
        self.texts, self.titles = "", set()
        self.page.on("console", lambda m: self.said.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))

    def look(self) -> None:
        found = self.page.evaluate(LOOK)
        assert (found["runs"], found["alive"], self.said) == ([], [], [])
        self.texts += found["texts"]
        self.titles.add(found["title"])

    def hover(self) -> None:
        """Move over the figures, from mark to mark."""
        for figure in self.page.locator(".bk-Figure:visible").all()[:6]:
            box = figure.bounding_box()
            if box is None or box["y"] > 850:
                continue
            for x, y in ((0.3, 0.5), (0.5, 0.4), (0.7, 0.6)):
                self.page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
                self.page.wait_for_timeout(30)
        self.page.wait_for_timeout(200)

    def look_at_tables(self, page: str) -> None:
        """Open the data of the first figures of a page."""
        for button in self.page.locator(f".page[data-page={page}] [data-do=table]").all()[:2]:
            button.evaluate("button => button.click()")  # in a menu that is closed
            dialog = self.page.locator("[data-menu=tabulated]")
            dialog.wait_for(timeout=30_000)
            self.look()
            self.page.keyboard.press("Escape")
            dialog.wait_for(state="hidden", timeout=30_000)


@pytest.fixture
def watched(chromium) -> Iterator[Watched]:
    made = Watched(chromium)
    yield made
    made.page.context.close()


def go_through(watched: Watched, root: Path, payload: str) -> None:
    name, results = named(payload), Results(root)
    jobs = results.compute_jobs()
    task = Task(9, MatchRequest(name["network"], name["recording"]), expected_s=1, state=FAILED)
    task.message, jobs._tasks[9] = f"status {payload}", task
    with served(results) as server:
        watched.page.goto(entry(server, "?page=overview"))
        for letter, page in GO.items():
            watched.page.locator("[data-page]").first.wait_for(timeout=60_000)
            watched.page.keyboard.press("g")
            watched.page.keyboard.press(letter.lower())
            watched.page.locator(f".page[data-page={page}]").wait_for(timeout=60_000)
            watched.page.wait_for_timeout(400)
            watched.hover()
            watched.look()
            watched.look_at_tables(page)
        watched.page.goto(f"http://127.0.0.1:{server.port}/?page=site&site={quote(f'nowhere {payload}')}")
        watched.page.locator(".notice").wait_for(timeout=60_000)
        watched.look()
    jobs.close()
    results.lane.close()
    shown = [
        field for field in (*FIELDS, "nowhere", "status") if f"{name.get(field, f'{field} {payload}')}" in watched.texts
    ]
    assert shown == [*FIELDS, "nowhere", "status"]
    assert any(name["site"] in title for title in watched.titles)


def read_report(watched: Watched, run: engine.Run, file: Path, payload: str) -> None:
    """Open the report from a file, where no policy of a server stands before the names."""
    watched.page.goto(write_report(run, file, with_images=True).as_uri())
    watched.page.wait_for_function("() => Bokeh.documents[0]?.is_idle")
    watched.hover()
    watched.texts = ""
    watched.look()
    name = named(payload)
    assert [field for field in ("network", "recording", "site") if name[field] not in watched.texts] == []


def test_names_are_shown_as_they_are_on_every_page_and_in_a_report(watched, tmp_path, monkeypatch):
    payload = PAYLOADS["image"]
    run = attack(tmp_path / "store", payload, analyses=False)
    go_through(watched, tmp_path / "store", payload)
    few = ("responses", "every_site", "layer_profile")
    monkeypatch.setattr("dashboard.report.FIGURES", {name: FIGURES[name] for name in few})
    read_report(watched, run, tmp_path / "report.html", payload)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PAYLOADS)
def test_names_are_shown_as_they_are_in_every_figure_of_every_analysis(watched, tmp_path, kind):
    run = attack(tmp_path / "store", PAYLOADS[kind], analyses=True)
    go_through(watched, tmp_path / "store", PAYLOADS[kind])
    read_report(watched, run, tmp_path / "report.html", PAYLOADS[kind])


@pytest.mark.parametrize("kind", [kind for kind in PAYLOADS if kind not in ("entities", "template")])
def test_what_watches_sees_names_that_run(watched, tmp_path, kind):
    """Control: written into a page as markup each of them runs, or is alive."""
    file = tmp_path / "page.html"
    attribute = PAYLOADS[kind] if kind == "attribute" else ""
    file.write_text(f"<p title='{attribute}'>{PAYLOADS[kind]}</p><p>text</p>")
    watched.page.goto(file.as_uri())
    watched.page.wait_for_timeout(200)
    found = watched.page.evaluate(LOOK)
    assert found["runs"] or found["alive"]
    with pytest.raises(AssertionError):
        watched.look()
