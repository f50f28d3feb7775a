"""Twelve feature maps judged by four sites, one map without a unit; shared by the tests of two figures."""

import numpy as np
import xarray as xr

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def judged(n_validated: int = 6) -> xr.Dataset:
    """Return what the analysis would: the first ``n_validated`` maps by r above a threshold of 0.35."""
    high = np.linspace(0.6, 0.4, n_validated) if n_validated > 1 else np.full(n_validated, 0.6)
    best = np.concatenate([high, np.linspace(0.3, 0.2, 11 - n_validated), [np.nan]])
    order = np.array([(7 * i + 3) % 12 for i in range(12)])  # best map is channel 3
    by_channel = np.argsort(order)
    best = best[by_channel]
    above = np.floor(np.clip(best[:, None] - np.array(THRESHOLDS), 0, None) * 10 + 0.999)
    status = np.where(np.isnan(best), "no unit", np.where(best > 0.35, "validated", "unvalidated"))
    about = {
        "layer": "fire3",
        "n_sites": 4,
        "n_left_out": 1,
        "n_maps": 12,
        "n_validated": n_validated,
        "n_shuffles": 30,
        "threshold": 0.35,
        "threshold_closed_form": 0.3,
        "threshold_shuffles": 0.35,
    }
    return xr.Dataset(
        {
            "best": ("feature_map", best),
            "best_site": ("feature_map", np.where(np.isnan(best), "", "site1")),
            "y": ("feature_map", np.full(12, 2)),
            "x": ("feature_map", np.full(12, 4)),
            "p_value": ("feature_map", np.where(best > 0.35, 0.001, 0.4)),
            "status": ("feature_map", status),
            "n_above": (("feature_map", "threshold_of_r"), np.nan_to_num(above).astype(int)),
            **{name: ("region", [value]) for name, value in about.items()},
        },
        {
            "map_region": ("feature_map", np.full(12, "V4")),
            "channel": ("feature_map", np.arange(12)),
            "threshold_of_r": list(THRESHOLDS),
            "region": ["V4"],
        },
        {"level": 0.05},
    )
