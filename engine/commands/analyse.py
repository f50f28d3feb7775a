"""``unitscope analyse``: compute what a run lacks, or list it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import engine
from engine.commands.options import match_options, open_recordings, recording_options

if TYPE_CHECKING:
    from engine.sources import Source


@click.command()
@click.argument("run")
@click.argument("names", nargs=-1, metavar="[ANALYSIS]...")
@click.option("--all", "every", is_flag=True, help="All that can be computed for this run; says what the others lack.")
@click.option("--set", "given", multiple=True, metavar="KEY=VALUE", help="A setting of the analysis; may be repeated.")
@click.option("--seed", default=0, show_default=True, help="Of whatever the analysis draws.")
@click.option("--network", help="The network that was matched, if the run does not tell: MODULE:CALLABLE or a name.")
@click.option("--weights", help="Its weights, if they came from a file.")
@click.option("--recording", help="The recording that was matched, by name or path, if it lies elsewhere now.")
@recording_options
@match_options
def analyse(
    run: str,
    names: tuple[str, ...],
    every: bool,
    given: tuple[str, ...],
    seed: int,
    network: str | None,
    weights: str | None,
    recording: str | None,
    store: Path | None,
    device: str,
    memory: str,
    **said: Any,
) -> None:
    r"""Compute analyses of a RUN once, and store them with the run; without a name, list them.

    RUN is a path, network@recording, or the beginning of a digest. The expected time is printed first. Network and
    images, where an analysis needs them, are opened by the names that the run recorded.

    \b
    unitscope analyse squeezenet1_1@builtin
    unitscope analyse squeezenet1_1@builtin rotation --set rotations=20 --seed 1
    unitscope analyse squeezenet1_1@builtin --all
    unitscope analyse mine@planted rotation --network mymodule:make_network --recording planted/
    unitscope analyse mine@session rotation --recording session.npz --images images.zip --region V4

    Of a recording in a file say what was said when it was matched; or keep it once: unitscope check-data --save.
    """
    from engine.analyses import ANALYSES
    from engine.analyses.batch import compute_all, settings_by_name
    from engine.sources import Source

    opened = engine.open_run(run, store)
    loaded = network if weights is None else _weighted(opened, network, weights)
    matched = _said_of(recording, said)
    source = Source(opened, network=loaded, recording=matched, device=device, memory=memory)
    if not names and not every:
        click.echo(_analyses_table(source))
        return
    wanted = names or ANALYSES
    settings = settings_by_name(wanted, _pairs(given))
    results, failed = compute_all(
        source, wanted, seed=seed, settings=settings, tell=click.echo, progress=sys.stderr.isatty(), is_asked=not every
    )
    if len(names) == 1 and results:
        click.echo(results[names[0]])
    if failed:
        raise click.ClickException(f"not computed: {', '.join(failed)}.")


def _said_of(recording: str | None, said: dict[str, Any]) -> "str | engine.Recording | None":
    """Open a recording in a file with what is said of it."""
    given = [key for key, value in said.items() if value is not None and value is not False]
    if not given:
        return recording
    if recording is None:
        raise click.UsageError(f"--{given[0].replace('_', '-')} is about a recording in a file: add --recording FILE.")
    return open_recordings((recording,), said)[0]


def _analyses_table(source: "Source") -> str:
    """Say of every analysis whether the run holds it, what it would take, or what is missing."""
    from engine.analyses import TITLES
    from engine.analyses.batch import state_of

    run = source.run
    states = {name: state_of(name, source) for name in TITLES}
    rows = [("analysis", "state", "what it gives"), *((name, str(states[name]), TITLES[name]) for name in states)]
    widths = [max(len(row[column]) for row in rows) + 2 for column in (0, 1)]
    lines = [f"{name:<{widths[0]}}{state:<{widths[1]}}{title}" for name, state, title in rows]
    lacking = [f"{name} lacks {state.missing}" for name, state in states.items() if state.missing]
    return "\n".join([f"{run.network}@{run.recording}  run {run.digest[:12]}", *lines, *lacking])


def _pairs(given: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in given:
        key, is_pair, value = text.partition("=")
        if not is_pair:
            raise click.UsageError(f"--set {text}: expected KEY=VALUE, as in --set rotations=20.")
        pairs[key.strip()] = value.strip()
    return pairs


def _weighted(run: "engine.Run", network: str | None, weights: str) -> "engine.Network":
    return engine.load_network(network or run.network.split(" (")[0], weights=weights)
