"""What the user says of a file beside what it says itself: options, and a ``recording.toml`` in its folder.

``recording.toml`` has the same names as the options, ``responses`` (which file of the folder it is about), and a table
``[sha256]`` (file = checksum) that is verified before anything is read::

    responses = "session.npz"
    images = "images.zip"
    region = "V4"
    size_deg = 8.0
    window_ms = "70-170"
    source = "our laboratory, monkey M, 2026"

    [sha256]
    "session.npz" = "9f86d081..."
"""

import dataclasses
import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engine.errors import RecordingError

NOTES: Final = "recording.toml"
_MAX_NOTES_BYTES: Final = 2**20
_PATHS: Final = ("images", "stimulus_set", "order")


@dataclass(frozen=True)
class Given:
    """What is said of a recording beside its file; None = nothing.

    Attributes
    ----------
    images
        Folder or zip of the images.
    stimulus_set
        csv with a row for each stimulus: ``stimulus_id`` (or ``image_id``), ``filename``, and what else is known.
    order
        Text file with one stimulus id a line: the order of responses that come without ids.
    region
        Area of all sites, for files that name none.
    size_deg
        Width of a stimulus in degrees.
    window_ms
        "70-170": which bins to average where a file has several, else what its numbers were counted in.
    name, source, licence, response_unit
        As in ``Recording.data.attrs``.
    allow_subset
        Keep the stimuli that responses and images share instead of refusing.
    """

    images: Path | None = None
    stimulus_set: Path | None = None
    order: Path | None = None
    region: str | None = None
    size_deg: float | None = None
    window_ms: str | None = None
    name: str | None = None
    source: str | None = None
    licence: str | None = None
    response_unit: str | None = None
    allow_subset: bool = False

    def __post_init__(self) -> None:
        for name in _PATHS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, Path(value).expanduser())
        if self.size_deg is not None and not 0 < self.size_deg < math.inf:
            raise RecordingError(
                f"size_deg is the width of a stimulus in degrees, larger than 0, got {self.size_deg!r}."
            )

    def over(self, other: "Given") -> "Given":
        """Return what is given here, and what ``other`` says where nothing is."""
        mine = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return dataclasses.replace(
            other, **{name: value for name, value in mine.items() if value is not None and value is not False}
        )


@dataclass(frozen=True)
class Notes:
    """A ``recording.toml``: the file that it is about ("" if it does not say), what it says, and checksums."""

    responses: str = ""
    given: Given = Given()
    sha256: Mapping[str, str] = field(default_factory=dict)


def read_notes(folder: Path) -> Notes:
    """Return what ``recording.toml`` in ``folder`` says; nothing if there is none.

    Raises
    ------
    RecordingError
        If it is no TOML, has an unknown key or a value of the wrong kind, or names a file outside of its folder.
    """
    path = folder / NOTES
    if not path.is_file():
        return Notes()
    content = _content(path)
    kinds: dict[str, type] = {f.name: str for f in dataclasses.fields(Given)} | {"allow_subset": bool, "responses": str}
    pins = content.pop("sha256", {})
    unknown = [key for key in content if key not in kinds and key != "size_deg"]
    if unknown:
        raise RecordingError(f"{path}: there is no key {unknown[0]!r}. Keys: {', '.join(kinds)}, and a table [sha256].")
    for key, value in content.items():
        is_right = _is_number(value) if key == "size_deg" else isinstance(value, kinds[key])
        if not is_right:
            kind = "a number" if key == "size_deg" else kinds[key].__name__
            raise RecordingError(f"{path}: {key} must be {kind}, got {value!r}.")
    if not isinstance(pins, dict) or not all(isinstance(pin, str) for pin in pins.values()):
        raise RecordingError(f'{path}: [sha256] must have lines like "session.npz" = "9f86d081...".')
    for key in ("responses", *_PATHS):
        if key in content:
            content[key] = inside(folder, content[key], f"{path}: {key}")
    responses = content.pop("responses", None)
    return Notes("" if responses is None else responses.name, Given(**content), pins)


def inside(folder: Path, name: str, where: str) -> Path:
    """Return the path ``name`` below ``folder``, if it does not leave it: by ``..``, from the root, or by a link.

    Raises
    ------
    RecordingError
        If it does.
    """
    path = folder / name
    is_plain = "\0" not in name and "\\" not in name and not Path(name).is_absolute() and ".." not in Path(name).parts
    if not is_plain or not path.resolve().is_relative_to(folder.resolve()):
        raise RecordingError(
            f"{where} names {name!r}, which is not inside {folder}. Nothing outside of it is read: copy the file there."
        )
    return path


def require_checksums(folder: Path, pins: Mapping[str, str]) -> None:
    """Pass if every file that ``[sha256]`` names is what it was.

    Raises
    ------
    RecordingError
        Naming the first file that is missing or changed, with both checksums.
    """
    for name, expected in pins.items():
        path = inside(folder, name, f"{folder / NOTES}: [sha256]")
        if not path.exists():
            raise RecordingError(f"{path} is missing, but {NOTES} has its checksum. Copy it again.")
        found = sha256_of(path)
        if found != expected.strip().lower():
            raise RecordingError(
                f"{path} has changed: {NOTES} says sha256 {expected}, found {found}. Copy it again, or, if you changed "
                "it on purpose, write the new checksum there."
            )


def checksum_line(path: Path) -> str:
    """Return what to write at the end of ``recording.toml`` so that any change of a file is noticed: two lines."""
    return f'[sha256]\n{json.dumps(path.name, ensure_ascii=False)} = "{sha256_of(path)}"'


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal; of a folder that of its files' names and sha256, in order."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        lines = [f"{sha256_of(file)}  {file.relative_to(path).as_posix()}\n" for file in files]
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_NOTES_BYTES:
            raise RecordingError(f"{path} has more than {_MAX_NOTES_BYTES:,} bytes; it takes a few lines.")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise RecordingError(f'{path} cannot be read as TOML ({error}). Write lines like region = "V4".') from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
