import hashlib
import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from engine import cowley_v4, fetching
from engine.cowley_v4 import PublishedFile, SessionFacts, SessionFiles
from engine.errors import FetchError
from engine.fetching import fetch
from engine.known_recordings import data_root


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder and counts what was asked for."""

    asked = ()

    def log_message(self, *args):
        QuietHandler.asked += (self.path,)


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A collection of two small sessions, one of them with trials, and a copy of it in the publisher's layout."""
    folder = tmp_path / "published"
    sessions = {}
    for session in ("190923", "210325"):
        kinds = ["images", "responses_repeat_averaged", "responses_raw"][: 3 if session == "210325" else 2]
        files = [published(folder, f"{kind}/{kind}_{session}", f"{kind} {session}".encode()) for kind in kinds]
        sessions[session] = SessionFiles(*files, *([None] * (3 - len(files))))
    monkeypatch.setattr(cowley_v4, "sessions", lambda: sessions)
    monkeypatch.setattr(cowley_v4, "FACTS", dict.fromkeys(sessions, SessionFacts("M", 1, 1, "")))
    return folder


def published(folder, local, content):
    path = folder / "data_V4_responses" / local
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return PublishedFile(f"data_V4_responses/{local}", local, hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture
def publisher(copy, monkeypatch):
    """The copy behind a web server on this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    QuietHandler.asked = ()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=copy)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(fetching, "BASE_ADDRESS", f"http://127.0.0.1:{server.server_port}")
        yield copy
        server.shutdown()
        thread.join()


def fetched():
    root = data_root() / "cowley-v4"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


ALL_FILES = [
    "NOTICE.txt",
    "images/images_190923",
    "images/images_210325",
    "responses_raw/responses_raw_210325",
    "responses_repeat_averaged/responses_repeat_averaged_190923",
    "responses_repeat_averaged/responses_repeat_averaged_210325",
]


def test_everything_comes_from_the_publisher_once(publisher):
    names = ["cowley-v4/190923", "cowley-v4/210325"]
    assert fetch(progress=False) == names
    assert fetched() == ALL_FILES
    assert len(QuietHandler.asked) == 5
    assert fetch(progress=False) == names
    assert len(QuietHandler.asked) == 5
    assert (data_root() / "cowley-v4" / "images" / "images_190923").read_bytes() == b"images 190923"


@pytest.mark.parametrize("layout", [".", "data_V4_responses"])
def test_a_local_copy_may_have_either_layout(copy, layout):
    assert fetch(source=copy / layout, progress=False) == ["cowley-v4/190923", "cowley-v4/210325"]
    assert fetched() == ALL_FILES


def test_only_sessions_that_are_whole_in_the_copy_are_taken_unless_asked_for(copy):
    (copy / "data_V4_responses" / "responses_raw" / "responses_raw_210325").unlink()
    assert fetch(source=copy, progress=False) == ["cowley-v4/190923"]
    with pytest.raises(
        FetchError, match=r"lacks 1 of 3 files of session 210325, first responses_raw/.*Give the folder"
    ):
        fetch(sessions=["210325"], source=copy, progress=False)


def test_licence_and_paper_are_said_and_kept(copy, capsys):
    fetch(sessions="190923", source=copy)
    said = capsys.readouterr().err
    kept = (data_root() / "cowley-v4" / "NOTICE.txt").read_text()
    for text in (said, kept):
        assert "GPL-3.0" in text
        assert "doi 10.1038/s41586-026-10150-1" in text
        assert cowley_v4.COMMIT in text
    assert "cowley-v4/190923 is in" in said


def test_a_download_shows_its_progress(publisher, capsys):
    fetch(sessions=["190923"])
    assert "100%" in capsys.readouterr().err


def test_a_tampered_copy_is_refused_and_leaves_nothing(copy):
    path = copy / "data_V4_responses" / "responses_repeat_averaged" / "responses_repeat_averaged_190923"
    path.write_bytes(b"something else")
    expected = cowley_v4.sessions()["190923"].averages.sha256
    got = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(
        FetchError, match=rf"190923 is not the published file: expected sha256 {expected}, got {got}\. Noth"
    ):
        fetch(source=copy, progress=False)
    assert fetched() == ["images/images_190923"]


def test_a_tampered_download_is_refused_leaves_nothing_and_goes_on_later(publisher):
    path = publisher / "data_V4_responses" / "responses_repeat_averaged" / "responses_repeat_averaged_190923"
    right = path.read_bytes()
    path.write_bytes(b"something else")
    with pytest.raises(FetchError, match=r"http://127.*190923 is not the published file: .* Try again later"):
        fetch(progress=False)
    assert fetched() == ["images/images_190923"]
    path.write_bytes(right)
    fetch(progress=False)
    assert fetched() == ALL_FILES
    assert QuietHandler.asked.count("/data_V4_responses/images/images_190923") == 1


def test_a_damaged_file_is_fetched_again(copy):
    fetch(source=copy, progress=False)
    path = data_root() / "cowley-v4" / "images" / "images_190923"
    path.write_bytes(b"images 190924")
    fetch(source=copy, progress=False)
    assert path.read_bytes() == b"images 190923"


def test_a_publisher_that_cannot_be_reached_is_an_error_with_a_way_out(copy, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(fetching, "BASE_ADDRESS", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(
            FetchError, match=r"did not give the file: .*Check the connection .*fetch cowley-v4 --from DIR"
        ):
            fetch(progress=False)
    assert fetched() == []


def test_a_file_that_the_publisher_lacks_is_an_error(publisher):
    (publisher / "data_V4_responses" / "images" / "images_190923").unlink()
    with pytest.raises(FetchError, match="did not give the file: 404"):
        fetch(progress=False)
    assert fetched() == []


def test_a_place_that_cannot_be_written_is_named(copy):
    data_root().mkdir(parents=True)
    (data_root() / "cowley-v4").write_text("in the way")
    with pytest.raises(
        FetchError, match=r"cowley-v4.* cannot be read or written: .* UNITSCOPE_DATA\. Files that are comp"
    ):
        fetch(source=copy, progress=False)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"collection": "allen"}, r"There is no collection 'allen'\. Known: cowley-v4, majajhong2015\."),
        ({"sessions": ["190000"]}, r"there is no session '190000'\. 12 sessions have all they need: 190923, 190925"),
        (
            {"sessions": ["190924"]},
            r"of session 190924 only averages can be checked \(a match needs images and averages\)",
        ),
        ({"sessions": ["201016"]}, "of session 201016 only trials and averages can be checked"),
        ({"source": "nowhere"}, "There is no folder nowhere to fetch from. Check the path, or leave it out"),
    ],
)
def test_what_cannot_be_fetched_is_said_before_anything_is(asked, says):
    with pytest.raises(FetchError, match=says):
        fetch(**asked, progress=False)
    assert not data_root().exists()


def test_a_folder_without_any_session_is_refused(tmp_path):
    with pytest.raises(
        FetchError, match=r"holds no whole session\. Expected, for a session, e.g.: images/images_190923\.zip, "
    ):
        fetch(source=tmp_path, progress=False)


def test_the_list_of_files_is_pinned():
    assert len(cowley_v4.sessions()) == 12
    assert fetching.BASE_ADDRESS.endswith(f"cowleygroup/V4_compact_models/{cowley_v4.COMMIT}")
    assert all(len(file.sha256) == 64 and file.n_bytes < 4 * 2**20 for file in cowley_v4.published_files().values())
    assert set(cowley_v4.FACTS) <= set(cowley_v4.sessions())
    assert [session for session, files in cowley_v4.sessions().items() if files.trials] == ["210325"]


@pytest.mark.real_data
def test_the_published_sessions_pass_their_checksums(cowley_dir):
    assert len(fetch(source=cowley_dir, progress=False)) == 3
    shapes = {
        session: np.load(data_root() / "cowley-v4" / cowley_v4.sessions()[session].averages.local).shape
        for session in cowley_v4.FACTS
    }
    assert shapes == {session: (facts.n_sites, facts.n_stimuli) for session, facts in cowley_v4.FACTS.items()}
