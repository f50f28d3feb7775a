"""Write the table of ``assets/results.md`` from the runs of a store: python assets/results.py [STORE] > table.md."""

import sys

import xarray as xr

import engine
from engine.analyses.random_control import best_r


def row(run: engine.Run) -> str:
    """One line of the table for each region of a run."""
    scores = run.dataset("neural_correlation").sel(layer="")
    n_units, n_stimuli = int(run.dataset("layers")["n_ok"].sum()), run.dataset("recording").sizes["stimulus"]
    profile = run.dataset("layer_profile")
    lines = []
    for region in scores["region"].values.tolist():
        s = scores.sel(region=region)
        of_region = (run.dataset("recording")["region"] == region).sel(site=profile["site"])
        by_layer = profile["held_out"].sel(site=of_region).median("site")
        best_layer = str(by_layer.idxmax("layer").values)
        lines.append(
            f"| {run.recording} {region} | {run.network} | {int(s['n_sites'])} | {n_stimuli:,} | {n_units:,} "
            f"| {_with_interval(s, 'correlation')} | {_with_interval(s, 'held_out')} "
            f"| {best_r(n_stimuli, n_units):.3f} | {float(s['chance_median']):.3f} | {best_layer} |"
        )
    return "\n".join(lines)


def _with_interval(scores: xr.Dataset, name: str) -> str:
    n, n_sites = int(scores[f"n_{name}"]), int(scores["n_sites"])
    known = "" if n == n_sites else f" ({n} of {n_sites} sites)"
    return f"{float(scores[name]):.3f} [{float(scores[name + '_low']):.3f}, {float(scores[name + '_high']):.3f}]{known}"


def main() -> None:
    """Print the table, recordings and networks in alphabetical order."""
    store = sys.argv[1] if len(sys.argv) > 1 else None
    table = engine.list_runs(store).sort_values(["recording", "network"])
    columns = ["recording", "network", "sites", "images", "units", "r, selected and scored on all", "held-out r"]
    columns += ["random control", "shuffled images", "best layer, held out"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for digest in table.loc[table["status"] == "complete", "digest"]:
        print(row(engine.open_run(digest, store)))


if __name__ == "__main__":
    main()
