"""Do two lists of names name the same things? The gate that every alignment passes: by id, never by position.

xarray joins partial overlaps silently and aligns by position where one side has no coordinate; pandas turns "001" into
1. So ids are checked here, once, before anything is paired.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePath
from typing import Any, Final

from engine.errors import RecordingError, StimulusMismatchError


def require_ids(ids: Any, what: str, where: str) -> tuple[str, ...]:
    """Return ``ids`` as a tuple of text, if they can name things without any doubt.

    Parameters
    ----------
    ids
        A sequence of ``str``, or an array, index or series of them.
    what
        What the ids name: ``"stimulus"`` or ``"site"``; for messages.
    where
        Where they come from, e.g. the name of a file; for messages.

    Raises
    ------
    RecordingError
        If an id is not text, empty, starts or ends with white space, holds characters that cannot be printed, or
        occurs twice: literally, in another case, or in another Unicode normalisation.
    """
    if isinstance(ids, str | bytes):
        raise RecordingError(f"{where}: {what} ids must be a list of text, got one text {ids!r}; write [{ids!r}].")
    listed = list(ids.to_numpy() if hasattr(ids, "to_numpy") else ids)
    _require_text(listed, what, where)
    names = tuple(str(name) for name in listed)
    _require_clean(names, what, where)
    for differ_in, folded in _SAME_NAMES:
        _require_unique(names, folded, what, differ_in, where)
    return names


def require_same_ids(
    expected: Sequence[str], found: Sequence[str], *, expected_in: str, found_in: str, fix: str
) -> None:
    """Pass if both sides hold the same ids, in any order.

    Raises
    ------
    StimulusMismatchError
        Naming both sides, their counts, the first three ids that only one of them has, what may have happened to them,
        and ``fix``.
    """
    only_expected, only_found = _one_sided(expected, found), _one_sided(found, expected)
    if only_expected or only_found:
        raise StimulusMismatchError(
            f"{expected_in} names {len(expected)} stimuli, {found_in} {len(found)}; "
            f"{_described(only_expected, 'the former')}, {_described(only_found, 'the latter')}. "
            f"{_near_miss(only_expected, only_found)}{fix}"
        )


def are_related(left: Sequence[str], right: Sequence[str]) -> bool:
    """Return whether some name of one side could mean one of the other: equal, or equal but for its spelling."""
    return bool({_most_alike(name) for name in left} & {_most_alike(name) for name in right})


def natural_order(name: str) -> list[tuple[bool, int, str]]:
    """Return a sort key that puts ``im2`` before ``im10``."""
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)]


def first_three(names: Iterable[object]) -> str:
    """Return the first three of ``names`` as a reader wants them: ``'a', 'b', 'c'``."""
    return ", ".join(repr(name) for name in list(names)[:3])


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _without_leading_zeros(name: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", name)


def _stem(name: str) -> str:
    return PurePath(name).stem


def _most_alike(name: str) -> str:
    return _without_leading_zeros(_composed(_stem(name.strip())).casefold())


_SAME_NAMES: Final[tuple[tuple[str, Callable[[str], str]], ...]] = (
    ("occur more than once", str),
    ("differ only in their Unicode normalisation", _composed),
    ("differ only in upper and lower case", lambda name: _composed(name).casefold()),
)
_SPELLINGS: Final[tuple[tuple[str, Callable[[str], str]], ...]] = (
    ("white space", str.strip),
    ("Unicode normalisation", _composed),
    ("upper and lower case", str.casefold),
    ("leading zeros", _without_leading_zeros),
    ("a file ending", _stem),
    ("spelling", _most_alike),
)


def _require_text(listed: list[Any], what: str, where: str) -> None:
    wrong = [(index, value) for index, value in enumerate(listed) if not isinstance(value, str)]
    if wrong:
        index, value = wrong[0]
        raise RecordingError(
            f"{where}: {what} ids must be text, but {len(wrong)} of {len(listed)} are not: "
            f"id {index} is {value!r} ({type(value).__name__}). Keep them as text from the start, "
            "with their leading zeros, e.g. pandas.read_csv(file, dtype=str, keep_default_na=False)."
        )


def _require_clean(names: tuple[str, ...], what: str, where: str) -> None:
    padded = [name for name in names if name != name.strip() or not name]
    if padded:
        raise RecordingError(
            f"{where}: {len(padded)} of {len(names)} {what} ids are empty or start or end with white space, "
            f"first {first_three(padded)}. Strip them on both sides."
        )
    unprintable = [name for name in names if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name)]
    if unprintable:
        raise RecordingError(
            f"{where}: {len(unprintable)} of {len(names)} {what} ids hold control characters or broken Unicode, "
            f"first {first_three(unprintable)}. Rename them."
        )


def _require_unique(
    names: tuple[str, ...], folded: Callable[[str], str], what: str, differ_in: str, where: str
) -> None:
    counts = Counter(map(folded, names))
    repeated = [name for name in names if counts[folded(name)] > 1]
    if repeated:
        raise RecordingError(
            f"{where}: {len(repeated)} of {len(names)} {what} ids {differ_in}, first "
            f"{first_three(dict.fromkeys(repeated))}. Every one needs an id of its own: rename them."
        )


def _one_sided(names: Sequence[str], others: Sequence[str]) -> list[str]:
    known = set(others)
    return [name for name in names if name not in known]


def _described(names: list[str], side: str) -> str:
    return f"{len(names)} only in {side}" + (f" (first {first_three(names)})" if names else "")


def _near_miss(left: list[str], right: list[str]) -> str:
    for kind, folded in _SPELLINGS:
        by_spelling = {folded(name): name for name in right}
        for name in left:
            if folded(name) in by_spelling:
                return f"{name!r} and {by_spelling[folded(name)]!r} differ only in {kind}. "
    return ""
