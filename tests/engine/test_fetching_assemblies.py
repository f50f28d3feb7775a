"""Brain-Score's public assembly: fetched from a server of this machine, in files of its layout that we wrote."""

import dataclasses
import hashlib
import io
import threading
import zipfile
from functools import partial
from http.server import ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from engine import majajhong2015
from engine.cli import main
from engine.errors import FetchError, RecordingError
from engine.fetching import fetch
from engine.known_recordings import data_root, list_recordings, open_recording
from tests.engine.formats.planted_files import assembly, write_assembly
from tests.engine.test_fetching import QuietHandler

IDS = [hashlib.sha1(bytes([index])).hexdigest() for index in range(8)]
RESPONSES = np.random.default_rng(0).integers(-40, 40, (8, 3)) / 8
NAMES = [file.name for file in majajhong2015.FILES]


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The three files, small, in the publisher's layout: ids are sha1, images have other names."""
    folder = tmp_path / "published"
    folder.mkdir()
    write_assembly(folder / NAMES[0], assembly(IDS, RESPONSES, repeats=2), name="dicarlo.MajajHong2015.public")
    files = [f"object_{index}_256x256.png" for index in range(8)]
    table = {"image_id": IDS, "filename": files, "category_name": ["Faces", "Cars"] * 4, "variation": [0, 3] * 4}
    pd.DataFrame(table).to_csv(folder / NAMES[1], index=False)
    with zipfile.ZipFile(folder / NAMES[2], "w") as archive:
        for index, name in enumerate(files):
            content = io.BytesIO()
            Image.fromarray(np.full((4, 4), 30 * index, np.uint8)).save(content, "PNG")
            archive.writestr(name, content.getvalue())
    changed = [
        dataclasses.replace(file, sha1=hashlib.sha1((folder / file.name).read_bytes()).hexdigest())
        for file in majajhong2015.FILES
    ]
    monkeypatch.setattr(majajhong2015, "FILES", tuple(changed))
    return folder


@pytest.fixture
def publisher(published, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    QuietHandler.asked = ()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=published)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(majajhong2015, "BASE_ADDRESS", f"http://127.0.0.1:{server.server_port}")
        yield published
        server.shutdown()
        thread.join()


def fetched():
    root = data_root() / "majajhong2015"
    return sorted(path.name for path in root.iterdir()) if root.is_dir() else []


def test_it_comes_once_with_the_version_that_the_checksum_is_of_and_says_what_it_holds(publisher, capsys):
    assert fetch("majajhong2015") == ["majajhong2015"]
    assert fetched() == sorted(["NOTICE.txt", *NAMES])
    assert QuietHandler.asked[0] == f"/{NAMES[0]}?versionId=LZWj2qjAwZKdmHdTGftpBPSO6oq.y9Q7"
    fetch("majajhong2015", progress=False)
    assert len(QuietHandler.asked) == 3
    said, kept = capsys.readouterr().err, (data_root() / "majajhong2015" / "NOTICE.txt").read_text()
    for text in (said, kept):
        assert "variations 0 and 3 (3,200 images)" in text
        assert "the 2,560 images of variation 6, those of Arend et al. 2018, are not public" in text
        assert "doi 10.1523/JNEUROSCI.5181-14.2015" in text


def test_it_opens_with_repeats_regions_categories_window_and_size(published):
    fetch("majajhong2015", source=published, progress=False)
    recording = open_recording("majajhong2015")
    data = recording.data.sel(stimulus=IDS)
    np.testing.assert_array_equal(data["response"], RESPONSES)
    assert data.sizes["repeat"] == 2
    assert data["region"].values.tolist() == ["V4", "V4", "IT"]
    assert data["category"].values.tolist() == ["Faces", "Cars"] * 4
    assert data["variation"].values.tolist() == [0, 3] * 4
    assert data["animal"].values.tolist() == ["M"] * 3
    assert {key: data.attrs[key] for key in ("name", "window_ms", "size_deg", "simulated")} == {
        "name": "majajhong2015",
        "window_ms": "70-170",
        "size_deg": 8.0,
        "simulated": 0,
    }
    assert "not public" in data.attrs["holds"]
    assert [int(recording.stimuli.pixels(name)[0, 0, 0]) for name in IDS] == [30 * index for index in range(8)]
    assert list_recordings().set_index("name").loc["majajhong2015", "status"] == "fetched"


@pytest.mark.parametrize("depth", [0, 1])
def test_files_that_the_user_has_may_lie_as_brainio_keeps_them(published, tmp_path, depth):
    copy = tmp_path / "brainio"
    for name in NAMES:
        place = copy / name.rsplit(".", 1)[0] if depth else copy
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes((published / name).read_bytes())
    output = CliRunner().invoke(main, ["fetch", "majajhong2015", "--from", str(copy)])
    assert output.exit_code == 0, output.output
    assert fetched() == sorted(["NOTICE.txt", *NAMES])


def test_a_tampered_file_is_refused_and_leaves_nothing(publisher):
    (publisher / NAMES[1]).write_text("something else")
    with pytest.raises(
        FetchError, match=r"http://127.*hvm-public\.csv.* expected SHA-1 [0-9a-f]{40}, got .* --from DIR"
    ):
        fetch("majajhong2015", progress=False)
    assert fetched() == [NAMES[0]]
    with pytest.raises(FetchError, match=r"published/image_dicarlo_hvm-public\.csv is not the published file"):
        fetch("majajhong2015", source=publisher, progress=False)
    assert fetched() == [NAMES[0]]


def test_a_fetched_file_that_changed_is_not_opened(published):
    fetch("majajhong2015", source=published, progress=False)
    path = data_root() / "majajhong2015" / NAMES[2]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(
        RecordingError, match=r"hvm-public\.zip is missing or damaged\. Run: unitscope fetch majajhong2015"
    ):
        open_recording("majajhong2015")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"sessions": ["V4"]}, "majajhong2015 has no sessions to choose from: leave 'V4' out"),
        (
            {"source": "."},
            r"lacks 3 of 3 files of majajhong2015, first assy_dicarlo_MajajHong2015_public\.nc\. Brain-Sc",
        ),
    ],
)
def test_what_cannot_be_fetched_is_said_before_anything_is(asked, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FetchError, match=says):
        fetch("majajhong2015", **asked, progress=False)
    assert fetched() == []


def test_before_it_is_fetched_it_is_listed_and_says_how():
    assert list_recordings().set_index("name").loc["majajhong2015"].tolist() == ["V4, IT", 256, 3200, "", "not fetched"]
    with pytest.raises(
        RecordingError, match=r"majajhong2015 is not on this machine: .*MajajHong2015_public\.nc is missing"
    ):
        open_recording("majajhong2015")


def test_addresses_and_checksums_are_pinned():
    assert majajhong2015.BASE_ADDRESS == "https://brainio-brainscore.s3.amazonaws.com"
    assert [file.sha1[:8] for file in majajhong2015.FILES] == ["13d28ca0", "5ca7a3da", "8aa44e03"]
    assert all(len(file.sha1) == 40 and len(file.version) == 32 for file in majajhong2015.FILES)
