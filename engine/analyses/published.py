"""What did the paper print? Networks and numbers of Arend et al. 2018, as reference data."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from engine.schema import REGION
from engine.store import Run

TABLE_1_SOURCE: Final = "as printed in Arend et al. 2018, Table 1"
TEXT_SOURCE: Final = "as printed in Arend et al. 2018, text"
NETWORK: Final = "network"


@dataclass(frozen=True)
class Printed:
    """A row of Table 1, and the two neural correlations that the text gives of one network."""

    network: str
    top1: float
    """ImageNet top-1 accuracy in %."""
    v4: float = np.nan
    it: float = np.nan
    also: tuple[str, ...] = ()
    """Other names of the same network, letters and digits only."""


TABLE_1: Final = (
    Printed("AlexNet", 57.7),
    Printed("VGG-16", 71.5),
    Printed("NASNet-mobile", 74.0, also=("nasnetamobile",)),
    Printed("MobileNet-1.4", 75.0),
    Printed("Xception", 79.0),
    Printed("DenseNet-121", 74.5),
    Printed("DenseNet-169", 75.9),
    Printed("ResNet-50", 75.2),
    Printed("ResNet-101", 76.4),
    Printed("ResNet-152", 77.8),
    Printed("Inception-ResNet-v2", 80.4),
    Printed("Inception-v4", 80.2),
    Printed("NASNet-large", 82.7, v4=0.6224, it=0.4337, also=("nasnetalarge",)),
    Printed("PNASNet-large", 82.9, also=("pnasnet5large",)),
)
"""In the order of the table. The paper's figure 4 speaks of top-5 accuracy, which it prints nowhere."""


def table_1(runs: Sequence[Run] = ()) -> xr.Dataset:
    """Return Table 1, completed by what runs of the same networks say of themselves.

    Parameters
    ----------
    runs
        Any runs. One of a network of the table gives its parameters and units; without one they are unknown.

    Returns
    -------
    xr.Dataset
        ``top1`` (network) in %; ``top5`` (network), NaN: not printed; ``correlation`` (region, network), the neural
        correlations that the text gives, regions V4 and IT, else NaN; ``parameters``, ``units`` (network), from the run
        named in ``run`` (network; its digest, empty where there is none), else NaN; ``top1_source``,
        ``correlation_source``, ``computed_source`` (network), empty where there is no number.

    References
    ----------
    Arend, Han, Schrimpf, Bashivan, Kar, Poggio, DiCarlo & Boix (2018), CBMM Memo 93.
    """
    found = [next((run for run in runs if _is_same(row, run.network)), None) for row in TABLE_1]
    about = [run.manifest["network"] if run else {} for run in found]
    printed = np.array([[row.v4 for row in TABLE_1], [row.it for row in TABLE_1]])
    has_printed = np.isfinite(printed).any(axis=0)
    text = {
        "run": [run.digest if run else "" for run in found],
        "top1_source": [TABLE_1_SOURCE] * len(TABLE_1),
        "correlation_source": [TEXT_SOURCE if known else "" for known in has_printed],
        "computed_source": [f"computed from {run.network}" if run else "" for run in found],
    }
    numbers = {
        "top1": [row.top1 for row in TABLE_1],
        "top5": [np.nan] * len(TABLE_1),
        "parameters": [float(one.get("parameters", np.nan)) for one in about],
        "units": [float(one.get("units", np.nan)) for one in about],
    }
    return xr.Dataset(
        {name: (NETWORK, np.array(values)) for name, values in {**numbers, **text}.items()}
        | {"correlation": ((REGION, NETWORK), printed)},
        {NETWORK: [row.network for row in TABLE_1], REGION: ["V4", "IT"]},
    )


def _is_same(row: Printed, name: str) -> bool:
    """Say whether a run's network, ``resnet50`` or ``torchvision:resnet50``, is the one of the row, and trained."""
    if "random" in name:
        return False
    plain = re.sub(r"[^a-z0-9]", "", name.rsplit(":", 1)[-1].lower())
    return plain in (re.sub(r"[^a-z0-9]", "", row.network.lower()), *row.also)
