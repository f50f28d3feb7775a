"""``unitscope match``: compute runs, or say the plan."""

import sys
from pathlib import Path
from typing import Any

import click

import engine
from engine.allocation import freed_memory_kept
from engine.commands.options import (
    LAYERS,
    SAID,
    WEIGHTS,
    WEIGHTS_SEED,
    layers_table,
    loaded_network,
    match_options,
    open_recordings,
    recording_options,
)


@click.command()
@click.argument("network")
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING...")
@WEIGHTS
@WEIGHTS_SEED
@LAYERS
@click.option("--top", default=100, show_default=True, help="Units kept for each site.")
@click.option("--folds", default=2, show_default=True, help="Parts for held-out values; 1: none.")
@click.option("--shuffles", default=30, show_default=True, help="Shuffled sites for each region, for chance.")
@click.option("--seed", default=0, show_default=True, help="Of the folds and the shuffles.")
@click.option("--batch", type=click.IntRange(1), help="Images at a time.  [default: as many as fit]")
@click.option("--plan", is_flag=True, help="Print passes and memory, and stop.")
@click.option("--workers", type=click.IntRange(1), help="Share out among so many processes here, each with --memory.")
@click.option(
    "--scheduler", metavar="ADDRESS", help="Share out among the workers of this Dask scheduler, each with --memory."
)
@match_options
@recording_options
def match(
    network: str,
    recordings: tuple[str, ...],
    weights: str | None,
    weights_seed: int,
    layers: str | None,
    plan: bool,
    workers: int | None,
    scheduler: str | None,
    store: Path | None,
    **settings: Any,
) -> None:
    r"""Match NETWORK against each RECORDING and store the runs.

    A run that is there already is not computed again; an interrupted one goes on. RECORDING is a name (unitscope list
    recordings) or a file of your own: Brain-Score assembly (.nc), .npz, .csv, zarr; see unitscope check-data.

    \b
    unitscope match squeezenet1_1 builtin
    unitscope match squeezenet1_1 session.npz --images images.zip --region V4 --size-deg 8
    unitscope match efficientnet_lite0 cowley-v4/190923 cowley-v4/210225 --memory 8GiB
    unitscope match squeezenet1_1 cowley-v4/210325 --weights random --weights-seed 3
    unitscope match torchvision:resnet50 builtin --weights resnet50-11ad3fa6.pth --layers 'layer?.*.relu*'
    unitscope match mymodule:make_network builtin --plan
    unitscope match squeezenet1_1 cowley-v4/190923 cowley-v4/210225 --workers 2
    """
    opened = open_recordings(recordings, {key: settings.pop(key) for key in SAID})
    loaded = loaded_network(network, weights, weights_seed, layers)
    if plan:
        click.echo(f"{layers_table(loaded)}\n")
    show = sys.stderr.isatty()
    if workers or scheduler:
        _match_shared(loaded, opened, store, plan=plan, show=show, workers=workers, scheduler=scheduler, **settings)
    elif plan:
        from engine.pipeline import plan_match

        for recording in opened:
            click.echo(f"{loaded.name}@{recording.name}: {plan_match(loaded, recording, **settings).describe()}")
    else:
        with freed_memory_kept(matches=len(opened)):
            for recording in opened:
                click.echo(summary(engine.match(loaded, recording, store=store, progress=show, **settings)))


def _match_shared(
    network: "engine.Network",
    recordings: list["engine.Recording"],
    store: Path | None,
    *,
    plan: bool,
    show: bool,
    top: int,
    folds: int,
    seed: int,
    shuffles: int,
    **how: Any,
) -> None:
    """Match on shared workers, all recordings at once; each run is said as soon as it is stored."""
    from engine.dispatch import match_all, plan_all
    from engine.matching import MatchSettings
    from engine.store import store_root

    settings = MatchSettings(top, folds, seed, shuffles)
    if plan:
        click.echo(plan_all(network, recordings, settings, **how))
        return
    for run in match_all(network, recordings, settings, store_root(store), progress=show, **how):
        click.echo(summary(run))


def summary(run: "engine.Run") -> str:
    """Say what a run found, a line for each region."""
    scores = run.dataset("neural_correlation").sel(layer="")
    simulated = " (SIMULATED sites)" if run.manifest["recording"].get("simulated") else ""
    lines = [f"{run.network}@{run.recording}{simulated}  run {run.digest[:12]}"]
    for region in scores["region"].values.tolist():
        row = scores.sel(region=region)
        n_sites, n_held_out = int(row["n_sites"]), int(row["n_held_out"])
        held_out_sites = "" if n_held_out in (0, n_sites) else f" ({n_held_out} sites)"
        lines.append(
            f"  {region}: median over {int(row['n_correlation'])} of {n_sites} sites of the best unit's r "
            f"{float(row['correlation']):.3f} (selected and scored on the same images), held out "
            f"{float(row['held_out']):.3f}{held_out_sites}, shuffled images {float(row['chance_median']):.3f}"
        )
    return "\n".join(lines)
