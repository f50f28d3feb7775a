"""What is known of a recording besides its numbers: regions, coordinates, attributes, in a form that can be stored."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np

from engine.errors import RecordingError
from engine.identifiers import first_three

_RESERVED: Final = frozenset({"stimulus", "site", "repeat", "region", "response", "trials", "rf_map", "rf_y", "rf_x"})


def regions(region: str | Sequence[str] | None, n_sites: int) -> np.ndarray:
    """Return the area of each site: ``region`` of each, of all, or "unknown"."""
    one_for_all = "unknown" if region is None else region
    names = [one_for_all] * n_sites if isinstance(one_for_all, str) else np.asarray(region, dtype=object).tolist()
    if len(names) != n_sites or not all(isinstance(name, str) and name == name.strip() and name for name in names):
        raise RecordingError(
            f"region must be one name, or one for each of {n_sites} sites, got {len(names)} ({first_three(names)})."
        )
    return np.array(names, dtype=np.str_)


def coordinates(
    given: Mapping[str, Any] | None, dim: str, size: int, taken: Collection[str] = ()
) -> dict[str, tuple[str, np.ndarray]]:
    """Return what is known of each stimulus or site (text or numbers by name) as coordinates along ``dim``."""
    checked = {}
    for name, values in (given or {}).items():
        if not isinstance(name, str) or name in {*_RESERVED, *taken}:
            raise RecordingError(f"{dim}_coords cannot be called {name!r}: that name is taken. Choose another.")
        column = _column(values)
        if column.shape != (size,) or column.dtype.kind not in "biufU":
            raise RecordingError(
                f"{dim}_coords[{name!r}] must be text or numbers, one for each of {size}, got {column.dtype} of shape "
                f'{column.shape}. Write "" or NaN where nothing is known.'
            )
        checked[name] = (dim, column)
    return checked


def attributes(
    given: Mapping[str, Any] | None, name: str, size_deg: float | None, trials: np.ndarray | None
) -> dict[str, Any]:
    """Return the attributes of a recording, those that nobody gave as "unknown", NaN or 0 (``simulated``)."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise RecordingError(f"name must be text that can be printed, got {name!r}.")
    size = np.nan if size_deg is None else float(size_deg)
    if size <= 0 or np.isinf(size):
        raise RecordingError(f"size_deg is the width of a stimulus in degrees, a positive number, got {size_deg!r}.")
    own = {"name": name, "size_deg": size}
    known: dict[str, Any] = {"source": "unknown", "licence": "unknown", "window_ms": "unknown"}
    known |= {"response_unit": "unknown", "simulated": 0}
    if trials is not None:
        known["n_repeats"] = trials.shape[2]
    for key, value in (given or {}).items():
        if key in own and value != own[key]:
            raise RecordingError(
                f"attrs[{key!r}] is {value!r}, but {key} is {own[key]!r}. Give it once, as an argument."
            )
        known[key] = _plain(key, value)
    return known | own


def _column(values: Any) -> np.ndarray:
    listed = np.asarray(values, dtype=object)  # numpy would turn ["a", 1] into text
    is_text = {isinstance(value, str) for value in listed.ravel().tolist()}
    return listed if len(is_text) > 1 else np.asarray(listed.tolist())


def _plain(key: Any, value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    plain = int(plain) if isinstance(plain, bool) else plain
    try:
        if isinstance(key, str) and json.loads(json.dumps(plain)) == plain:
            return plain
    except (TypeError, ValueError):
        pass
    raise RecordingError(f"attrs[{key!r}] must be text, a number or a list of them, got {value!r}.")
