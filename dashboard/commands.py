"""The commands ``unitscope serve`` and ``unitscope demo``."""

import sys
from pathlib import Path

import click

import engine
from engine.cli import match_options, summary

NETWORKS = ("squeezenet1_1", "efficientnet_lite0")
"""The demo's networks: the sites are simulated from units of the first; the second is an honest match across networks."""


@click.command()
@click.option("--store", type=click.Path(path_type=Path), help="Folder of the runs.")
@click.option("--port", default=5006, show_default=True, help="0: any free one.")
@click.option("--show/--no-show", default=False, help="Open the browser.")
def serve(store: Path | None, port: int, show: bool) -> None:
    """Serve the dashboard on this machine."""
    from dashboard.server import serve as start

    start(store, port=port, show=show)


@click.command()
@click.option("--port", default=5006, show_default=True, help="0: any free one.")
@click.option("--show/--no-show", default=False, help="Open the browser.")
@click.option("--serve/--no-serve", "then_serve", default=True, help="Serve the page when the matches are there.")
@match_options
def demo(port: int, show: bool, then_serve: bool, store: Path | None, device: str, memory: str) -> None:
    """Match two real networks against the built-in world of SIMULATED sites, then serve the dashboard.

    Needs no network connection. The first time it renders 640 images and matches both networks; later it starts at once.
    """
    recording = engine.open_recording("builtin")
    for name in NETWORKS:
        run = engine.match(
            engine.load_network(name),
            recording,
            device=device,
            memory=memory,
            store=store,
            progress=sys.stderr.isatty(),
        )
        click.echo(summary(run))
    if then_serve:
        from dashboard.server import serve as start

        start(store, port=port, show=show)
