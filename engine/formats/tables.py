"""Responses in text tables with ids: a column for each site, or a row for each response.

Wide: the header is ``stimulus_id``, perhaps ``repeat``, then the ids of the sites; a row for each stimulus (and
repeat). Long: columns ``stimulus_id``, ``site_id``, ``response``, perhaps ``repeat`` and ``region``; a row for each
response. Commas in ``.csv``, tabs in ``.tsv``, UTF-8; an empty field or ``nan`` is missing. Ids are text, exactly as
they stand: ``001`` stays ``001``, and ``NA`` is an id.
"""

import csv
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from engine.errors import RecordingError
from engine.formats.contents import Contents
from engine.identifiers import first_three

MAX_TABLE_BYTES: Final = 512 * 2**20
STIMULUS_IDS: Final = ("stimulus_id", "image_id")
_MISSING: Final = frozenset({"", "nan", "NaN", "NAN"})
_LONG: Final = frozenset({"site_id", "response"})


def read_table(path: Path, window_ms: str | None = None) -> Contents:
    """Return what a csv or tsv of responses holds, wide or long.

    Raises
    ------
    RecordingError
        If it is no table of text, its header is none of the two kinds, rows are short or there twice, or a response is
        no number; names the line.
    """
    table = read_text_table(path)
    if table.columns[0] not in STIMULUS_IDS and not set(table.columns) >= _LONG:
        raise RecordingError(
            f"{path}: its first column is {table.columns[0]!r}; expected stimulus_id, then a column for each site, or "
            "stimulus_id, site_id, response, with a row for each response. The first line names the columns."
        )
    return _long(table, path) if set(table.columns) >= _LONG else _wide(table, path)


def read_text_table(path: Path) -> pd.DataFrame:
    """Return a csv or tsv as text, exactly as it stands; its first line names the columns.

    Raises
    ------
    RecordingError
        If it is too large, not UTF-8, a row has more or fewer fields than the header, or two columns have one name.
    """
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise RecordingError(
                f"{path} has {path.stat().st_size:,} bytes, more than the {MAX_TABLE_BYTES:,} that a table may have. "
                "Save the numbers with numpy.savez instead."
            )
        with open(path, encoding="utf-8-sig", newline="") as file:
            separator = "\t" if path.suffix.lower() == ".tsv" else ","
            rows = list(csv.reader(file, delimiter=separator, strict=True))  # pandas fills short lines up in silence
    except RecordingError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        why = str(error).strip().replace("\n", " ")
        raise RecordingError(
            f"{path} cannot be read as a table ({why}). Save it as UTF-8 text with commas (.csv) or tabs (.tsv), every "
            "line with as many fields as the first."
        ) from error
    while rows and not rows[-1]:
        rows.pop()
    _require_rectangle(rows, path)
    header = rows[0]
    twice = [name for name in header if header.count(name) > 1] if len(header) != len(set(header)) else []
    if twice or any("\0" in name for name in header):
        raise RecordingError(
            f"{path}: {len(twice)} columns have the name of another, first {first_three(twice)}. Rename them."
        )
    return pd.DataFrame(rows[1:], columns=pd.Index(header), dtype=object)


def _require_rectangle(rows: list[list[str]], path: Path) -> None:
    width = len(rows[0]) if rows else 0
    uneven = [line for line, row in enumerate(rows, start=1) if len(row) != width]
    if uneven or len(rows) < 2 or not width:
        line = uneven[0] if uneven else len(rows)
        raise RecordingError(
            f"{path}, line {line}: expected {width} fields and at least one line below the header, got "
            f"{len(rows[line - 1]) if line else 0} fields in {len(rows)} lines. Write the table again."
        )


def _wide(table: pd.DataFrame, path: Path) -> Contents:
    where, ids = str(path), table.columns[0]
    has_repeats = "repeat" in table.columns[1:2]
    sites = table.columns[2 if has_repeats else 1 :].tolist()
    if not sites:
        raise RecordingError(f"{where} has no column for a site after {ids!r}; is it separated by ';'? Use commas.")
    numbers = np.stack([_numbers(table[site], site, path) for site in sites], axis=1)
    stimuli = list(dict.fromkeys(table[ids].tolist()))
    if not has_repeats:
        _require_once(
            table[ids].tolist(), path, "a stimulus stands in more than one line; add a column 'repeat' after it"
        )
        return Contents(where, numbers, table[ids].tolist(), sites, attrs={"name": path.stem})
    repeats = list(dict.fromkeys(table["repeat"].tolist()))
    pairs = list(zip(table[ids].tolist(), table["repeat"].tolist(), strict=True))
    _require_once(pairs, path, "a stimulus has a repeat more than once")
    trials = np.full((len(stimuli), len(sites), len(repeats)), np.nan)
    stimulus, repeat = _places(table[ids], stimuli), _places(table["repeat"], repeats)
    trials[stimulus, :, repeat] = numbers
    return Contents(where, trials, stimuli, sites, attrs={"name": path.stem})


def _long(table: pd.DataFrame, path: Path) -> Contents:
    where = str(path)
    ids = next((name for name in STIMULUS_IDS if name in table.columns), None)
    known = {*STIMULUS_IDS, *_LONG, "repeat", "region"}
    unknown = [name for name in table.columns if name not in known]
    if ids is None or unknown:
        raise RecordingError(
            f"{where}: a table with a row for each response has columns stimulus_id, site_id, response, and perhaps "
            f"repeat and region; found {', '.join(table.columns)}. What else is known of stimuli goes "
            "into a stimulus set."
        )
    stimuli, sites = (list(dict.fromkeys(table[name].tolist())) for name in (ids, "site_id"))
    repeats = list(dict.fromkeys(table["repeat"].tolist())) if "repeat" in table else [""]
    shown = table["repeat"].tolist() if "repeat" in table else [""] * len(table)
    keys = list(zip(table[ids].tolist(), table["site_id"].tolist(), shown, strict=True))
    _require_once(keys, path, "a site has a stimulus (and repeat) in more than one line; add a column 'repeat'")
    trials = np.full((len(stimuli), len(sites), len(repeats)), np.nan)
    repeat = _places(table["repeat"], repeats) if "repeat" in table else np.zeros(len(table), int)
    places = (_places(table[ids], stimuli), _places(table["site_id"], sites), repeat)
    trials[places] = _numbers(table["response"], "response", path)
    responses = trials if "repeat" in table else trials[:, :, 0]
    return Contents(where, responses, stimuli, sites, region=_regions(table, sites, path), attrs={"name": path.stem})


def _numbers(column: pd.Series, name: str, path: Path) -> np.ndarray:
    listed = ["nan" if text.strip() in _MISSING else text for text in column.tolist()]
    values = pd.to_numeric(pd.Series(listed), errors="coerce").to_numpy(float)
    is_wrong = np.isnan(values) & np.array([text != "nan" for text in listed])
    if is_wrong.any():
        line = int(np.argmax(is_wrong))
        raise RecordingError(
            f"{path}, line {line + 2}, column {name!r}: a response must be a number, empty or nan, got "
            f"{listed[line]!r} ({int(is_wrong.sum())} such in the column)."
        )
    return values


def _places(column: pd.Series, names: list[str]) -> np.ndarray:
    place = {name: index for index, name in enumerate(names)}
    return np.array([place[name] for name in column.tolist()])


def _require_once(keys: list, path: Path, what: str) -> None:
    seen: dict[object, int] = {}
    for line, key in enumerate(keys, start=2):
        if key in seen:
            raise RecordingError(f"{path}, lines {seen[key]} and {line}: {what}: {key!r}. Lines must not repeat.")
        seen[key] = line


def _regions(table: pd.DataFrame, sites: list[str], path: Path) -> list[str] | None:
    if "region" not in table:
        return None
    region: dict[str, str] = {}
    for line, (site, name) in enumerate(zip(table["site_id"].tolist(), table["region"].tolist(), strict=True), start=2):
        if region.setdefault(site, name) != name:
            raise RecordingError(
                f"{path}, line {line}: site {site!r} is in {name!r}, in an earlier line in {region[site]!r}."
            )
    return [region[site] for site in sites]
