"""``unitscope bench`` and ``check``: how fast is this machine, and can its numbers be trusted?"""

import sys
from pathlib import Path
from typing import Any

import click

from engine.commands.options import STORE, WEIGHTS_SEED


@click.command()
@click.argument("network")
@click.option("--weights", default="pretrained", show_default=True, help="pretrained, random, or a file of weights.")
@WEIGHTS_SEED
@click.option("--recording", help="A real recording instead of simulated images and sites.")
@click.option("--images", type=int, help="Simulated images.  [default: 640]")
@click.option("--sites", type=int, help="Simulated sites.  [default: 50]")
@click.option("--folds", default=1, show_default=True, help="Parts for held-out values; 1: none.")
@click.option("--shuffles", default=0, show_default=True, help="Shuffled sites for each region.")
@click.option("--memory", default="8GiB", show_default=True, help="Bound of the match's peak; peers' activations too.")
@click.option("--batch", type=click.IntRange(1), help="Images at a time in the match.  [default: as many as fit]")
@click.option("--repeats", default=3, show_default=True, help="Of everything, in turn; medians are shown.")
@click.option("--peers", default="numpy,hooks,faiss,thingsvision", show_default=True, help="To compare with, or none.")
@click.option("--seed", default=0, show_default=True, help="Of simulation, folds and shuffles.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write everything as JSON, too.")
def bench(network: str, peers: str, output: Path | None, **settings: Any) -> None:
    r"""Measure a match of NETWORK on this machine against its floor, and beside other ways.

    The floor is what no program can leave out: decode the images once, one forward pass without hooks, one float32
    product (sites x stimuli)(stimuli x units) for each layer. Peers run in the same process, in turn: numpy in memory,
    hooks to disk and numpy, FAISS, THINGSvision; one that is not installed is listed with what installs it.

    \b
    unitscope bench squeezenet1_1
    unitscope bench squeezenet1_1 --images 1200 --sites 89 --folds 2 --peers none -o bench.json
    unitscope bench efficientnet_lite0 --recording cowley-v4/210325 --peers numpy,faiss --repeats 1
    """
    from engine.bench import BenchSettings
    from engine.bench import bench as measure

    if output is not None and not output.absolute().parent.is_dir():
        raise click.UsageError(
            f"there is no folder {output.absolute().parent} for -o {output}; make it, or name another."
        )
    chosen = () if peers == "none" else tuple(name.strip() for name in peers.split(","))
    progress = (lambda step: click.echo(step, err=True)) if sys.stderr.isatty() else (lambda step: None)
    found = measure(BenchSettings(network, peers=chosen, **settings), progress=progress)
    if output is not None:
        output.write_text(found.to_json())
    click.echo(found.describe())


@click.command()
@STORE
@click.option("--all", "every", is_flag=True, help="Read every run of the store in full, however long it takes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def check(store: Path | None, every: bool, as_json: bool) -> None:
    r"""Check on this machine that numbers can be trusted: identities, a known answer, the store. Takes half a minute.

    Every line says what was measured, within what it must lie, and what that claims. The exit code is 1 if a claim
    fails. The runs of the store are read and not changed; a folder beside them is written to, and removed.

    \b
    unitscope check
    unitscope check --store DIR --all
    unitscope check --json > check.json
    """
    from engine.self_check import self_check
    from engine.store import store_root

    def told(step: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{step}", err=True, nl=False)

    report = self_check(store_root(store), reads_all=every, told=told)
    told("")
    click.echo(report.to_json() if as_json else report.describe())
    if report.n_failed:
        raise SystemExit(1)
