"""Where recordings come from: their publisher, or a local copy, checked against the published checksums.

A file appears under its name only when its sha256 is right, so an interrupted fetch goes on where it stopped, and a
wrong file is never opened.
"""

import hashlib
import logging
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pooch
import requests

from engine import cowley_v4, majajhong2015
from engine.cowley_v4 import PublishedFile, SessionFiles
from engine.durable import TEMPORARY, move_in, write_file
from engine.errors import FetchError
from engine.fetching_assemblies import fetch_majajhong2015
from engine.known_recordings import data_root

BASE_ADDRESS: Final = f"https://raw.githubusercontent.com/{cowley_v4.REPOSITORY}/{cowley_v4.COMMIT}"
NOTICE_FILE: Final = "NOTICE.txt"
NOTICES: Final = {cowley_v4.COLLECTION: cowley_v4.NOTICE, majajhong2015.COLLECTION: majajhong2015.NOTICE}
"""What is said of each collection that can be fetched, by its name."""

_TIMEOUT_S: Final = 30
_CHUNK_BYTES: Final = 2**20

Getter = Callable[[PublishedFile, Path], None]
"""Puts a published file at a path, whole and with the right checksum, or raises and leaves nothing."""


def fetch(
    collection: str = cowley_v4.COLLECTION,
    sessions: Sequence[str] | None = None,
    *,
    source: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> list[str]:
    """Put real recordings on this machine and return the names under which ``open_recording`` opens them.

    Files that are here already and have the published checksum are not fetched again. The licence and the paper to cite
    are printed (with ``progress``) and kept in ``NOTICE.txt`` beside the files.

    Parameters
    ----------
    collection
        "cowley-v4": macaque V4, Cowley et al. (2026), GPL-3.0, some 6 MB a session. "majajhong2015": macaque V4 and
        IT, Brain-Score's public part of Majaj et al. (2015), without single sessions; the download was never tried
        against its publisher, so it is untested.
    sessions
        Which, e.g. ``["190923"]``. None: the three documented ones; with ``source`` every session that is whole there.
    source
        A local copy instead of the publisher: the folder that holds ``images``, ``responses_repeat_averaged`` and
        ``responses_raw``, or a checkout of the publisher's repository; for majajhong2015 a folder with its three files,
        e.g. ``~/.brainio``.
    progress
        Show a bar per file on stderr.

    Raises
    ------
    FetchError
        If collection or session are unknown, a file is missing or has another checksum, the publisher cannot be
        reached, or the disk cannot be written. What was fetched before stays.

    References
    ----------
    Cowley, Stan, Pillow & Smith (2026), Nature, doi 10.1038/s41586-026-10150-1.
    """
    if collection not in NOTICES:
        raise FetchError(f"There is no collection {collection!r}. Known: {', '.join(NOTICES)}.")
    copy = None if source is None else _require_copy(Path(source).expanduser())
    if collection == majajhong2015.COLLECTION:
        return _fetch_majajhong2015(sessions, copy, progress)
    wanted = _wanted(sessions, copy)
    get = _downloading(progress) if copy is None else _copying(copy)
    folder = data_root() / collection
    with _explained(folder, BASE_ADDRESS, collection):
        for session, files in wanted.items():
            for file in files.all():
                _ensure(folder / file.local, file, get)
            _say(f"{collection}/{session} is in {folder}", progress)
        _write_notice(folder / NOTICE_FILE, collection)
    _say(cowley_v4.NOTICE, progress)
    return [f"{collection}/{session}" for session in wanted]


def _fetch_majajhong2015(sessions: Sequence[str] | None, copy: Path | None, progress: bool) -> list[str]:
    if sessions:
        raise FetchError(f"{majajhong2015.COLLECTION} has no sessions to choose from: leave {sessions[0]!r} out.")
    folder = data_root() / majajhong2015.COLLECTION
    with _explained(folder, majajhong2015.BASE_ADDRESS, majajhong2015.COLLECTION), _quiet_pooch():
        names = fetch_majajhong2015(folder, copy, _downloader(progress), lambda text: _say(text, progress))
        _write_notice(folder / NOTICE_FILE, majajhong2015.COLLECTION)
    _say(majajhong2015.NOTICE, progress)
    return names


def _require_copy(source: Path) -> Path:
    if not source.is_dir():
        raise FetchError(f"There is no folder {source} to fetch from. Check the path, or leave it out to download.")
    return source


def _wanted(sessions: Sequence[str] | None, copy: Path | None) -> dict[str, SessionFiles]:
    """Return the files of the sessions to fetch; with a copy, only sessions that are whole there."""
    known = cowley_v4.sessions()
    if sessions is None:
        chosen = list(cowley_v4.FACTS) if copy is None else [name for name in known if _is_whole(known[name], copy)]
        if not chosen:
            raise FetchError(
                f"{copy} holds no whole session. Expected, for a session, e.g.: "
                f"{', '.join(file.local for file in known['190923'].all())}."
            )
    else:
        chosen = list(dict.fromkeys([sessions] if isinstance(sessions, str) else sessions))
    for session in chosen:
        _require_known(session)
        if copy is not None:
            _require_whole(session, known[session], copy)
    return {session: known[session] for session in chosen}


def _require_known(session: str) -> None:
    known = cowley_v4.sessions()
    if session in known:
        return
    kinds = [kind for kind, name in cowley_v4.published_files() if name == session]
    why = (
        f"of session {session} only {' and '.join(kinds)} can be checked (a match needs images and averages)"
        if kinds
        else f"there is no session {session!r}"
    )
    raise FetchError(f"{cowley_v4.COLLECTION}: {why}. {len(known)} sessions have all they need: {', '.join(known)}.")


def _require_whole(session: str, files: SessionFiles, copy: Path) -> None:
    missing = [file.local for file in files.all() if _find(file, copy) is None]
    if missing:
        raise FetchError(
            f"{copy} lacks {len(missing)} of {len(files.all())} files of session {session}, first {missing[0]}. "
            "Give the folder that holds images, responses_repeat_averaged and responses_raw; or download: leave the "
            "local copy out."
        )


def _is_whole(files: SessionFiles, copy: Path) -> bool:
    return all(_find(file, copy) is not None for file in files.all())


def _find(file: PublishedFile, copy: Path) -> Path | None:
    places = (copy / file.local, copy / file.published)
    return next((place for place in places if place.is_file()), None)


def _ensure(path: Path, file: PublishedFile, get: Getter) -> None:
    is_here = path.is_file() and path.stat().st_size == file.n_bytes and cowley_v4.sha256_of(path) == file.sha256
    if not is_here:
        path.parent.mkdir(parents=True, exist_ok=True)
        get(file, path)


def _copying(copy: Path) -> Getter:
    def get(file: PublishedFile, path: Path) -> None:
        original = _find(file, copy)
        assert original is not None  # _require_whole
        content = original.read_bytes()
        _require_checksum(hashlib.sha256(content).hexdigest(), file, str(original))
        temporary = path.with_name(f"{TEMPORARY}{path.name}-{uuid.uuid4().hex}")
        try:
            write_file(temporary, content)
            move_in(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    return get


def _downloading(progress: bool) -> Getter:
    download = _downloader(progress)

    def get(file: PublishedFile, path: Path) -> None:
        address = f"{BASE_ADDRESS}/{file.published}"

        def checked_download(url: str, output_file: Any, pup: Any) -> None:
            download(url, output_file, pup)
            _require_checksum(cowley_v4.sha256_of(Path(output_file)), file, url)

        with _quiet_pooch():
            pooch.retrieve(
                address, f"sha256:{file.sha256}", fname=path.name, path=path.parent, downloader=checked_download
            )

    return get


def _downloader(progress: bool) -> pooch.HTTPDownloader:
    return pooch.HTTPDownloader(progressbar=progress, chunk_size=_CHUNK_BYTES, timeout=_TIMEOUT_S)


def _require_checksum(found: str, file: PublishedFile, where: str) -> None:
    if found != file.sha256:
        raise FetchError(
            f"{where} is not the published file: expected sha256 {file.sha256}, got {found}. Nothing of it was kept. "
            "Try again later or from another copy."
        )


def _write_notice(path: Path, collection: str) -> None:
    content = f"{NOTICES[collection]}\n".encode()
    if not path.is_file() or path.read_bytes() != content:
        temporary = path.with_name(f"{TEMPORARY}{path.name}-{uuid.uuid4().hex}")
        write_file(temporary, content)
        move_in(temporary, path)


@contextmanager
def _explained(folder: Path, address: str, collection: str) -> Iterator[None]:
    """Turn what network and disk refuse below into a ``FetchError`` that says what to do."""
    kept = "Files that are complete are kept: the same command goes on from there."
    try:
        yield
    except requests.exceptions.RequestException as error:
        raise FetchError(
            f"{address} did not give the file: {error}. Check the connection and try again, or fetch from a local "
            f"copy: unitscope fetch {collection} --from DIR. {kept}"
        ) from error
    except OSError as error:
        raise FetchError(
            f"{error.filename or folder} cannot be read or written: {error.strerror or error}. Make room, or choose "
            f"another place with UNITSCOPE_DATA. {kept}"
        ) from error


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Keep pooch's notes off the screen while it works; we say what happens ourselves."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _say(text: str, progress: bool) -> None:
    if progress:
        print(text, file=sys.stderr)
