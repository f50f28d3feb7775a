"""Which real macaque V4 recordings can be had: their files, where they are published, and what is known of each.

Cowley, Stan, Pillow & Smith (2026) publish responses of V4 sites to natural and synthetic images, session by session.
This module knows the files and facts of the collection; ``engine.fetching`` gets it, ``known_recordings`` opens it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

COLLECTION: Final = "cowley-v4"
REPOSITORY: Final = "cowleygroup/V4_compact_models"
COMMIT: Final = "f4552ad9d34a466ebc66658f72a08a8e5038f1cf"
LICENCE: Final = "GPL-3.0"
CITATION: Final = (
    "Cowley, Stan, Pillow and Smith, Compact deep neural network models of the visual cortex, Nature (2026), "
    "doi 10.1038/s41586-026-10150-1"
)
SOURCE: Final = f"{CITATION}; https://github.com/{REPOSITORY}, commit {COMMIT[:7]}"
NOTICE: Final = (
    f"{COLLECTION}: real macaque V4 recordings with their images, licence {LICENCE} of their publisher. "
    f"If you use them, cite {CITATION}. From https://github.com/{REPOSITORY}, commit {COMMIT}."
)

_PUBLISHED_UNDER: Final = PurePosixPath("data_V4_responses")
_LIST: Final = Path(__file__).with_name("cowley_v4_sha256.txt")


@dataclass(frozen=True)
class PublishedFile:
    """One file of the collection: where it is published, where it lies here, and what it must be."""

    published: str
    """Path in the publisher's repository."""

    local: str
    """Path in the collection's folder on this machine."""

    sha256: str
    n_bytes: int


@dataclass(frozen=True)
class SessionFiles:
    """The files of one session; ``trials`` where single trials are published and listed."""

    images: PublishedFile
    averages: PublishedFile
    trials: PublishedFile | None

    def all(self) -> tuple[PublishedFile, ...]:
        """Return the files that the session needs."""
        return tuple(file for file in (self.images, self.averages, self.trials) if file is not None)


@dataclass(frozen=True)
class SessionFacts:
    """What the publisher and Brain-Score say of a session."""

    animal: str
    n_sites: int
    n_stimuli: int
    repeats: str
    """Repeats of an image; where they differ, their range, or their median if trials are not published."""

    size_deg: float = 11.2
    window_ms: str = "50-150"


FACTS: Final[Mapping[str, SessionFacts]] = {
    "190923": SessionFacts("WE", 33, 1200, "14"),
    "210225": SessionFacts("PE", 55, 1200, "6"),
    "210325": SessionFacts("PE", 50, 640, "6-10"),
}
"""The documented sessions; of the others only the files are known."""


@cache
def sessions() -> Mapping[str, SessionFiles]:
    """Return the sessions that have images and responses among the listed files, by name."""
    files = published_files()
    averaged = {session: file for (kind, session), file in files.items() if kind == "averages"}
    return {
        session: SessionFiles(files["images", session], file, files.get(("trials", session)))
        for session, file in averaged.items()
        if ("images", session) in files
    }


@cache
def published_files() -> Mapping[tuple[str, str], PublishedFile]:
    """Return the listed files of the recordings by kind (``images``, ``averages``, ``trials``) and session."""
    kinds = {"images": "images", "responses_repeat_averaged": "averages", "responses_raw": "trials"}
    files = {}
    for line in _LIST.read_text(encoding="utf-8").splitlines()[1:]:
        sha256, n_bytes, published = line.split()
        path = PurePosixPath(published)
        if path.is_relative_to(_PUBLISHED_UNDER):
            local = path.relative_to(_PUBLISHED_UNDER)
            session = local.stem.split("_")[1]
            files[kinds[local.parts[0]], session] = PublishedFile(published, str(local), sha256, int(n_bytes))
    return files


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
