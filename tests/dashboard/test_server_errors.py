"""An error in the server: the visitor reads a sentence and a name, and nothing that the exception says."""

import re
from collections.abc import Iterator

import pytest
from bokeh.document import Document

from dashboard.results import Results
from dashboard.troubles import sentence, tell_page, tell_through, told_on_page
from dashboard.views.session import Session
from tests.browsers import entry, served
from tests.dashboard.conftest import build_run
from tests.dashboard.stores import put

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

SECRET = "/srv/secret/store/run-0417"
TOLD = re.compile(r"That did not work \(error [0-9a-f]{6}; the server's log says more\)")
EVERYTHING = """() => [...document.querySelectorAll('*')].flatMap(function walk(e) {
  return [e.textContent, ...[...e.attributes].map(a => a.value),
    ...(e.shadowRoot ? [...e.shadowRoot.querySelectorAll('*')].flatMap(walk) : [])];
}).join(' ')"""


def broken(*_, **__):
    """Fail as the system does: with a path."""
    raise OSError(2, "No such file", SECRET)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    root = tmp_path_factory.mktemp("store")
    put(root, build_run(sites={"V4": 4}, n_stimuli=40, layers=(("one", 2, 2), ("two", 3, 1)), n_ranks=5))
    return Results(root)


@pytest.fixture(scope="module")
def server(results) -> Iterator:
    with served(results) as server:
        yield server


class Heard:
    """A visit, and everything that came to the browser."""

    def __init__(self, chromium, server) -> None:
        self.frames: list[str] = []
        self.said: list[str] = []
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: self.frames.append(str(frame))))
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.goto(entry(server, "?page=site"))
        page.locator("[data-card=responses] canvas").first.wait_for(timeout=60_000)
        page.wait_for_function("() => new URLSearchParams(location.search).get('site')")
        self.page, self.read = page, ""

    def reads(self) -> str:
        """Return what the page says now, once it is something else than before."""
        self.page.locator(".notice").filter(has_not_text=self.read or "nothing yet").wait_for(timeout=20_000)
        self.read = self.page.locator(".notice").inner_text()
        return self.read

    def everything(self) -> str:
        return "\n".join([*self.frames, *self.said, self.page.evaluate(EVERYTHING)])


@pytest.fixture(scope="module")
def heard(chromium, server) -> Iterator[Heard]:
    """One page for all tests; at the end all that came to it is looked through."""
    visit = Heard(chromium, server)
    yield visit
    assert SECRET not in visit.everything()
    assert "Traceback" not in visit.everything()
    visit.page.close()


def test_the_net_is_needed_and_the_test_sees_everything(heard, server, monkeypatch):
    """Control: the sentence itself is in the frames and in the page, so a path would be."""
    monkeypatch.setattr(Session, "_export", lambda self, *_: self.say("seen everywhere"))
    heard.page.locator("[data-menu-name=responses-export]").click()
    heard.page.locator("[data-menu=responses-export] [data-kind=csv]").click()
    assert heard.reads() == "seen everywhere"
    assert "seen everywhere" in "\n".join(heard.frames)
    assert "seen everywhere" in heard.page.evaluate(EVERYTHING)


def test_an_error_in_what_the_browser_reports(heard, monkeypatch, caplog):
    monkeypatch.setattr(Session, "_export", broken)
    heard.page.locator("[data-menu-name=responses-export]").click()
    heard.page.locator("[data-menu=responses-export] [data-kind=csv]").click()
    assert TOLD.match(heard.reads())
    assert SECRET in caplog.text


def test_an_error_in_a_tap_on_a_figure(heard, monkeypatch, caplog):
    """Bokeh calls it, and would answer with its text."""
    monkeypatch.setattr(Session, "refresh", broken)
    box = heard.page.locator("[data-slot=rail] canvas").first.bounding_box()
    heard.page.mouse.click(box["x"] + 120, box["y"] + 22 + 14 * 2 + 7)
    assert TOLD.match(heard.reads())
    assert SECRET in caplog.text
    told = [line for line in heard.said if "error" in line.lower()]
    assert all(re.search(r"error [0-9a-f]{6}", line) for line in told)
    assert "ERROR" in "\n".join(heard.frames)


def test_an_error_in_what_the_server_does_by_itself(heard, results, monkeypatch, caplog):
    monkeypatch.setattr(Session, "refresh", broken)
    results.bell.ring()
    assert TOLD.match(heard.reads())
    assert SECRET in caplog.text


def test_an_error_while_the_page_is_made(chromium, server, monkeypatch, caplog):
    monkeypatch.setattr(Session, "serve", broken)
    page = chromium.new_page()
    answer = page.goto(entry(server))
    assert answer.status == 500
    assert re.search(r"Error [0-9a-f]{6}; the server's log says more. Reload the page.", page.content())
    assert SECRET not in page.content()
    assert SECRET in caplog.text
    page.close()


def test_an_error_while_a_picture_is_made(heard, server, results, monkeypatch):
    monkeypatch.setattr("dashboard.thumbnails.jpeg", broken)
    digest = next(iter(results.table()["digest"]))
    answer = heard.page.request.get(f"http://127.0.0.1:{server.port}/img/{digest}/image0000.jpg")
    assert answer.status == 500
    assert SECRET not in answer.text()


def test_whoever_shows_a_page_is_told():
    """The explorers' counts come from a thread; what it raises is raised on the loop, in this net."""
    said: list[str] = []

    class Page:
        def say(self, told: str) -> None:
            said.append(told)

    document, page = Document(), Page()
    tell_through(document, page)
    told_on_page(document, broken)()
    assert TOLD.match(said[0])
    assert sentence(tell_page(document)).startswith("That did not work")
