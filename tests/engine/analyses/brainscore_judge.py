"""Scores single units and partial least squares with Brain-Score's own metrics; runs in an environment of its own.

    python -m venv judge
    judge/bin/pip install "numpy<2" "pandas<3" "scikit-learn<1.6" "xarray<2022.6" scipy boto3 tqdm netCDF4 pillow \
        psutil result_caching
    judge/bin/pip install --no-deps brainscore-vision==2.4.2 brainscore-core==2.5.0
    UNITSCOPE_BRAINSCORE_PYTHON=judge/bin/python pytest -m slow tests/engine/analyses/test_brainscore.py

Called with two files: in, an npz with ``units`` (stimulus, unit), ``response`` (stimulus, site) and ``object``
(stimulus); out, a json with score, error and the r of each split and site, of each metric.
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")

import brainscore_vision  # noqa: E402
import numpy as np  # noqa: E402
from brainscore_core.supported_data_standards.brainio.assemblies import NeuroidAssembly  # noqa: E402
from brainscore_vision.metrics import regression_correlation  # noqa: E402, F401 (registers the metrics)


def assembly(values: np.ndarray, labels: np.ndarray, prefix: str) -> NeuroidAssembly:
    """Label an array (stimulus, neuroid) as Brain-Score wants it."""
    stimuli = [f"stimulus{k:04d}" for k in range(len(values))]
    neuroids = [f"{prefix}{k:04d}" for k in range(values.shape[1])]
    coords = {
        "stimulus_id": ("presentation", stimuli),
        "object_name": ("presentation", labels),
        "neuroid_id": ("neuroid", neuroids),
        "neuroid_num": ("neuroid", np.arange(len(neuroids))),
    }
    return NeuroidAssembly(values, coords=coords, dims=["presentation", "neuroid"])


def main(given: str, written: str) -> None:
    """Score and write."""
    data = np.load(given)
    units = assembly(data["units"], data["object"], "unit")
    response = assembly(data["response"], data["object"], "site")
    found = {}
    for name in ("neuron_to_neuron", "pls"):
        score = brainscore_vision.metric_registry[name]()(units, response)
        raw = score.attrs["raw"]
        while "raw" in raw.attrs:
            raw = raw.attrs["raw"]
        found[name] = {
            "score": float(score),
            "error": float(score.attrs["error"]),
            "r": np.asarray(raw.transpose("split", "neuroid").values, float).tolist(),
        }
    with open(written, "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
