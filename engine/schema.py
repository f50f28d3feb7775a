"""Which datasets a run holds: dims, dtypes, units and meaning of every variable, once.

Producers build datasets with these names, the store checks them with ``require`` before it writes, readers rely on
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import xarray as xr

from engine.errors import StoreError

STIMULUS: Final = "stimulus"
SITE: Final = "site"
REPEAT: Final = "repeat"
LAYER: Final = "layer"
RANK: Final = "rank"
FOLD: Final = "fold"
R_BIN: Final = "r_bin"
FEATURE_MAP: Final = "feature_map"
MATCH_UNIT: Final = "match_unit"
SHUFFLE: Final = "shuffle"
REGION: Final = "region"

N_R_BINS: Final = 200
R_EDGES: Final = np.linspace(-1.0, 1.0, N_R_BINS + 1)
R_CENTRES: Final = (R_EDGES[:-1] + R_EDGES[1:]) / 2

UNIT_STATUSES: Final = ("ok", "sparse", "constant", "low_variation", "nonfinite", "n_too_small")
SPARSE_BELOW: Final = 5
"""A unit that leaves its most frequent value on fewer stimuli than this is ``sparse``: ranked, and flagged."""

MIN_STIMULI: Final = 3
"""Fewer common stimuli give no r."""

ROUNDING: Final = 2.0**-24
"""Half the distance of neighbouring float32 values, as a share of the value."""

LOW_VARIATION: Final = 8 * ROUNDING
"""A unit varies only by rounding when its SD over all stimuli is at most this share of its largest activation."""

TIED_WITHIN: Final = 2e-6
"""Units whose r differ by less are reported as tied: float32 activations cannot tell them apart."""

LEVEL: Final = TIED_WITHIN / 2
"""Units this close to the last rank count as equal to it where too many are: so no unit is lost that is better than the
last by more than ``TIED_WITHIN``."""

MARGIN: Final = 2 * TIED_WITHIN
"""Units this close to the last rank are kept as candidates until they are scored again in float64."""

SPARE: Final = 64
"""At most so many candidates beyond ``top``; among more units tied there, the first in layer order stay."""


@dataclass(frozen=True)
class Variable:
    """One variable of a dataset: its dims in order, dtype kind (``f``, ``i``, ``u``, ``b``, ``U``) and meaning."""

    dims: tuple[str, ...]
    kind: str
    meaning: str
    optional: bool = False


@dataclass(frozen=True)
class Schema:
    """Variables and coordinates that a dataset must have; it may carry more coordinates."""

    variables: Mapping[str, Variable]
    coords: Mapping[str, Variable] = field(default_factory=dict)


_UNIT = {
    "unit": Variable((SITE, RANK), "i", "index into the layer's (channel, y, x) in C order; -1 = none"),
    "channel": Variable((SITE, RANK), "i", "feature map of the unit in its layer; -1 = none"),
    "y": Variable((SITE, RANK), "i", "row of the unit in its feature map, 0 in dense layers; -1 = none"),
    "x": Variable((SITE, RANK), "i", "column of the unit in its feature map, 0 in dense layers; -1 = none"),
}
_LAYER_UNIT = {name: Variable((LAYER, *v.dims), v.kind, v.meaning) for name, v in _UNIT.items()}

RECORDING: Final = Schema(
    {
        "response": Variable((STIMULUS, SITE), "f", "trial-averaged response; NaN = missing"),
        "trials": Variable((STIMULUS, SITE, REPEAT), "f", "single trials; NaN = not shown", optional=True),
        "rf_map": Variable(
            (SITE, "rf_y", "rf_x"), "f", "response to a small square, coordinates in degrees", optional=True
        ),
    },
    {
        STIMULUS: Variable((STIMULUS,), "U", "id"),
        SITE: Variable((SITE,), "U", "id"),
        REGION: Variable((SITE,), "U", "area"),
    },
)

RUN_SCHEMAS: Final[Mapping[str, Schema]] = {
    "recording": RECORDING,
    "thumbnails": Schema(
        {"pixels": Variable((STIMULUS, "pixel_y", "pixel_x", "colour"), "u", "small picture, sRGB; one colour = gray")},
        {STIMULUS: Variable((STIMULUS,), "U", "id")},
    ),
    "layers": Schema(
        {
            "kind": Variable((LAYER,), "U", "class of the module"),
            "channels": Variable((LAYER,), "i", "feature maps"),
            "height": Variable((LAYER,), "i", "rows of a feature map"),
            "width": Variable((LAYER,), "i", "columns of a feature map"),
            "units": Variable((LAYER,), "i", "channels x height x width"),
            "depth": Variable((LAYER,), "f", "index / (number of layers - 1), 0 to 1"),
            "n_ok": Variable((LAYER,), "i", "units that are ranked"),
            "n_constant": Variable((LAYER,), "i", "units with the same value for every stimulus"),
            "n_low_variation": Variable(
                (LAYER,), "i", "units whose variation is rounding: sd <= 8 x 2**-24 x largest activation"
            ),
            "n_nonfinite": Variable((LAYER,), "i", "units with NaN or infinite activations"),
            "first_nonfinite": Variable((LAYER,), "U", "first stimulus with such an activation, or empty"),
        }
    ),
    "folds": Schema({"fold": Variable((STIMULUS,), "i", "part that the stimulus belongs to, 0 .. folds-1")}),
    "matches": Schema(
        {
            "correlation": Variable(
                (SITE, RANK), "f", "Pearson's r over all stimuli, falling along rank; NaN = no unit"
            ),
            "held_out": Variable(
                (SITE, RANK),
                "f",
                "r of the unit at this rank among the selection stimuli, on the left-out part, mean over folds",
            ),
            "layer": Variable((SITE, RANK), "U", "layer of the unit; empty = none"),
            **_UNIT,
            "match_unit": Variable((SITE, RANK), "i", "row of the unit in match_responses; -1 = none"),
            "status": Variable((SITE, RANK), "U", "ok or sparse; empty = none"),
            "tied": Variable((SITE, RANK), "b", "r within 2e-6 of a neighbouring rank"),
            "site_status": Variable((SITE,), "U", "ok, or why the site has no match: constant, n_too_small"),
        }
    ),
    "fold_matches": Schema(
        {
            "selected": Variable((FOLD, SITE, RANK), "f", "r on the selection stimuli: all parts but this one"),
            "held_out": Variable((FOLD, SITE, RANK), "f", "r of the same unit on the left-out part"),
            "layer": Variable((FOLD, SITE, RANK), "U", "layer of the unit; empty = none"),
            **{name: Variable((FOLD, *v.dims), v.kind, v.meaning) for name, v in _UNIT.items()},
        }
    ),
    "layer_matches": Schema(
        {
            "correlation": Variable((LAYER, SITE, RANK), "f", "Pearson's r, best of the layer first; NaN = no unit"),
            "held_out": Variable((LAYER, SITE, RANK), "f", "as in matches, within the layer"),
            **_LAYER_UNIT,
        }
    ),
    "layer_profile": Schema(
        {
            "correlation": Variable((LAYER, SITE), "f", "best r in the layer"),
            "held_out": Variable((LAYER, SITE), "f", "held-out r of the layer's best selected unit"),
            "unit": Variable((LAYER, SITE), "i", "index of the best unit in its layer; -1 = none"),
        }
    ),
    "unit_counts": Schema(
        {
            "count": Variable(
                (LAYER, SITE, R_BIN), "i", "units of the layer whose r with the site falls in the bin (width 0.01)"
            )
        }
    ),
    "feature_maps": Schema(
        {
            "correlation": Variable(
                (FEATURE_MAP, SITE), "f", "best r over the positions of the map; NaN = no ranked unit"
            ),
            "y": Variable((FEATURE_MAP, SITE), "i", "row of that position; -1 = none"),
            "x": Variable((FEATURE_MAP, SITE), "i", "column of that position; -1 = none"),
        },
        {
            "layer": Variable((FEATURE_MAP,), "U", "layer"),
            "channel": Variable((FEATURE_MAP,), "i", "channel in its layer"),
        },
    ),
    "match_responses": Schema(
        {
            "activation": Variable(
                (MATCH_UNIT, STIMULUS),
                "f",
                "activation of every unit that some rank of some site names, or that is the best of a fold",
            )
        },
        {
            "layer": Variable((MATCH_UNIT,), "U", "layer"),
            "unit": Variable((MATCH_UNIT,), "i", "index in its layer"),
            "channel": Variable((MATCH_UNIT,), "i", "feature map"),
            "y": Variable((MATCH_UNIT,), "i", "row"),
            "x": Variable((MATCH_UNIT,), "i", "column"),
        },
    ),
    "null": Schema(
        {
            "correlation": Variable(
                (LAYER, SHUFFLE), "f", "best r in the layer with a site whose stimuli were shuffled"
            ),
            "held_out": Variable((LAYER, SHUFFLE), "f", "held-out r of the layer's best selected unit, same shuffle"),
            "network_correlation": Variable((SHUFFLE,), "f", "best r over all layers"),
            "network_held_out": Variable((SHUFFLE,), "f", "held-out r of the unit selected over all layers"),
        },
        {SITE: Variable((SHUFFLE,), "U", "site that was shuffled"), REGION: Variable((SHUFFLE,), "U", "its region")},
    ),
}


def require(dataset: xr.Dataset, name: str) -> xr.Dataset:
    """Return ``dataset`` if it is what a run's group ``name`` must be.

    Raises
    ------
    StoreError
        Naming the first variable that is missing or has other dims or another kind of dtype.
    """
    schema = RUN_SCHEMAS.get(name)
    if schema is None:
        return dataset
    for variables, where in ((schema.variables, dataset.data_vars), (schema.coords, dataset.coords)):
        for key, expected in variables.items():
            if key not in where:
                if expected.optional:
                    continue
                raise StoreError(
                    f"{name}: variable {key!r} {expected.dims} is missing; the dataset has {sorted(map(str, where))}."
                )
            found = where[key]
            kind = "U" if found.dtype.kind in "OT" else found.dtype.kind
            if found.dims != expected.dims or kind != expected.kind:
                raise StoreError(
                    f"{name}.{key}: expected dims {expected.dims} of kind {expected.kind!r}, "
                    f"got {found.dims} of {found.dtype}. A producer of this group has a bug."
                )
    return dataset
