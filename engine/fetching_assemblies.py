"""Brain-Score's public assembly on this machine: from its publisher, or from files that the user has.

As in ``engine.fetching``, a file appears under its name only when its checksum (SHA-1: the one that is published) is
right.
"""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pooch

from engine import majajhong2015
from engine.durable import TEMPORARY, move_in
from engine.errors import FetchError
from engine.majajhong2015 import PublishedFile, sha1_of

Say = Callable[[str], None]


def fetch_majajhong2015(folder: Path, copy: Path | None, download: Callable[..., None], say: Say) -> list[str]:
    """Put the assembly, its table of stimuli and its images into ``folder``.

    Parameters
    ----------
    folder
        Made if it is not there. Files that are there and right stay.
    copy
        Folder of the user's own files, at any depth as brainio keeps them (``~/.brainio``); None: download.
    download
        A pooch downloader: takes address, file and the pooch.
    say
        Told what happens.

    Raises
    ------
    FetchError
        If a file is missing in the copy or has another checksum; nothing of it is kept.
    """
    if copy is not None:
        _require_whole(copy)
    folder.mkdir(parents=True, exist_ok=True)
    for file in majajhong2015.FILES:
        path = folder / file.name
        if not file.is_at(path):
            _copy(file, copy, path) if copy is not None else _download(file, path, download)
    say(f"{majajhong2015.COLLECTION} is in {folder}; it holds {majajhong2015.HOLDS}")
    return [majajhong2015.COLLECTION]


def _require_whole(copy: Path) -> None:
    missing = [file.name for file in majajhong2015.FILES if _find(file, copy) is None]
    if missing:
        raise FetchError(
            f"{copy} lacks {len(missing)} of {len(majajhong2015.FILES)} files of {majajhong2015.COLLECTION}, first "
            f"{missing[0]}. Brain-Score keeps them in folders of ~/.brainio; or download: leave the local copy out."
        )


def _find(file: PublishedFile, copy: Path) -> Path | None:
    return next((path for path in (copy / file.name, *sorted(copy.glob(f"*/{file.name}"))) if path.is_file()), None)


def _copy(file: PublishedFile, copy: Path, path: Path) -> None:
    original = _find(file, copy)
    assert original is not None  # _require_whole
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{uuid.uuid4().hex}")
    try:
        shutil.copyfile(original, temporary)
        _require_checksum(temporary, file, str(original))
        move_in(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _download(file: PublishedFile, path: Path, download: Callable[..., None]) -> None:
    def checked_download(url: str, output_file: Any, pup: Any) -> None:
        download(url, output_file, pup)
        _require_checksum(Path(output_file), file, url)

    pooch.retrieve(file.address, f"sha1:{file.sha1}", fname=path.name, path=path.parent, downloader=checked_download)


def _require_checksum(path: Path, file: PublishedFile, where: str) -> None:
    found = sha1_of(path)
    if found != file.sha1:
        raise FetchError(
            f"{where} is not the published file: expected SHA-1 {file.sha1}, got {found}. Nothing of it was kept. "
            "Try again later, or give the files that you have: unitscope fetch majajhong2015 --from DIR."
        )
