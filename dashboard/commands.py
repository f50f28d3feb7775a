"""The commands ``unitscope serve`` and ``unitscope demo``."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

import engine
from dashboard.server import PORT
from dashboard.server import serve as start_server
from engine.commands.match import summary
from engine.commands.options import match_options
from engine.known_recordings import BUILTIN
from engine.world import open_world

NETWORKS = ("squeezenet1_1", "efficientnet_lite0")
"""The demo's networks: the sites are simulated from units of the first, the second is an honest match across."""


def _page_options(command: Callable[..., None]) -> Callable[..., None]:
    port = click.option(
        "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0: any free one."
    )
    return port(click.option("--show/--no-show", default=False, help="Open the browser.")(command))


@click.command()
@click.option("--store", type=click.Path(path_type=Path), help="Folder of the runs.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Interface to listen on.")
@click.option("--allow-remote", is_flag=True, help="Let other machines connect; takes TLS, here or at a proxy.")
@click.option("--certfile", type=click.Path(path_type=Path), help="Certificate for TLS (PEM), with --keyfile.")
@click.option("--keyfile", type=click.Path(path_type=Path), help="Its key (PEM).")
@click.option(
    "--behind-proxy",
    multiple=True,
    metavar="ADDRESS",
    help="Address of the page at the proxy that visitors go through, path included; repeat for several.",
)
@click.option(
    "--host-name", "host_names", multiple=True, metavar="NAME", help="Another name of this machine; repeat for several."
)
@click.option(
    "--jobs/--no-jobs",
    default=None,
    help="Let visitors match and analyse on this machine.  [default: only where all of them are on it]",
)
@click.option("--device", help="Of matches: auto, cpu, cuda or cuda:N.  [default: auto]")
@click.option("--workers", type=click.IntRange(1), help="Share every match out among so many processes here.")
@click.option("--scheduler", metavar="ADDRESS", help="Share every match out among the workers of this Dask scheduler.")
@_page_options
def serve(store: Path | None, device: str | None, workers: int | None, scheduler: str | None, **options: Any) -> None:
    r"""Serve the dashboard, on this machine only; its pages start, watch and cancel matches and analyses.

    Open the address that it prints: the token in it lets the browser in. Addresses of the page hold no token, so that
    they can be shared with whoever was let in.

    \b
    unitscope serve
    unitscope serve --store /data/runs --port 8000 --show
    unitscope serve --workers 4
    unitscope serve --behind-proxy https://lab.example.org/unitscope
    unitscope serve --address 0.0.0.0 --allow-remote --certfile lab7.pem --keyfile lab7.key --host-name lab7.example.org
    """
    if workers and scheduler:
        raise click.UsageError(
            "--workers starts processes here, --scheduler uses those of a cluster: give one of them."
        )
    start_server(store, how={"device": device, "workers": workers, "scheduler": scheduler}, **options)


@click.command()
@click.option(
    "--serve/--no-serve", "then_serve", default=True, help="Serve the page as soon as there is something to see."
)
@match_options
@_page_options
def demo(then_serve: bool, store: Path | None, device: str, memory: str, port: int, show: bool) -> None:
    r"""Match two real networks against the built-in world of SIMULATED sites and serve the dashboard.

    Needs no network connection. The first time it renders 640 images and matches SqueezeNet 1.1; then it serves the
    page, while EfficientNet-Lite0 is matched: reload the page when that is done. Later all is there at once.

    \b
    unitscope demo --show
    unitscope demo --no-serve
    """
    click.echo("The built-in world: 640 rendered images, 88 SIMULATED sites.", err=True)
    recording = open_world(progress=sys.stderr.isatty())
    first, second = NETWORKS
    settings = {"device": device, "memory": memory, "store": store}
    click.echo(summary(engine.match(engine.load_network(first), recording, progress=sys.stderr.isatty(), **settings)))
    if not then_serve:
        click.echo(
            summary(engine.match(engine.load_network(second), recording, progress=sys.stderr.isatty(), **settings))
        )
        return
    with _matching_beside(second, settings):
        start_server(store, port=port, show=show)


@contextmanager
def _matching_beside(network: str, settings: Mapping[str, object]) -> Iterator[None]:
    """Match a network against the built-in world in a process of its own, which ends with the ``with``."""
    options = [f"--{name}={value}" for name, value in settings.items() if value is not None]
    process = subprocess.Popen([sys.executable, "-m", "engine.cli", "match", network, BUILTIN, *options])
    try:
        yield
    finally:
        process.terminate()
        process.wait()
