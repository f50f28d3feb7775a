"""The command ``unitscope``: fetch, check-data, match, analyse, list; other packages add ``unitscope.commands``."""

import atexit
import gc
import re
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pandas as pd

import engine
from engine.allocation import freed_memory_kept
from engine.errors import EngineError

if TYPE_CHECKING:
    from engine.sources import Source

_STORE = click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Folder of the runs. [default: $UNITSCOPE_STORE, else your data folder]",
)

_WEIGHTS = click.option(
    "--weights",
    help="pretrained, random, or a file.  [default: pretrained; torchvision's and timm's networks need a choice]",
)
_WEIGHTS_SEED = click.option("--weights-seed", default=0, show_default=True, help="Of random weights.")


class _Commands(click.Group):
    """Says what is wrong in one sentence instead of a traceback, and finds commands of other packages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *sorted(entry_points(group="unitscope.commands").names)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        added = [entry.load() for entry in entry_points(group="unitscope.commands", name=cmd_name)]
        found = own or next(iter(added), None)
        return None if found is None else _with_examples_in_lines(found)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EngineError as error:
            raise click.ClickException(str(error)) from error


def _with_examples_in_lines(command: click.Command) -> click.Command:
    """Give click the backspace that keeps lines apart; in a raw docstring it is two characters, which click ignores."""
    command.help = (command.help or "").replace("\\b\n", "\b\n")
    return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(engine.__version__, prog_name="unitscope")
def main() -> None:
    r"""Find, for every recorded site of visual cortex, the single units of a deep network that respond most like it.

    \b
    Begin with:   unitscope demo
    Your data:    unitscope match NETWORK RECORDING, then unitscope serve
    """
    atexit.register(gc.freeze)  # a search for garbage in what the system is about to free takes a second


_with_examples_in_lines(main)


def match_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every command shares which computes a match."""
    options = [
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option(
            "--memory", default="4GiB", show_default=True, help="Bound of the peak beside the loaded network."
        ),
        _STORE,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def recording_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say what a file of responses does not say itself."""
    path = click.Path(path_type=Path)
    options = [
        click.option("--images", type=path, help="Of a recording in a file: folder or zip.  [default: beside it]"),
        click.option(
            "--stimulus-set", type=path, help="csv with stimulus_id, filename and what else is known of each."
        ),
        click.option("--order", type=path, help="Text file, one stimulus id a line, for responses without ids."),
        click.option("--region", help="Area of all sites, where the file names none."),
        click.option("--size-deg", type=float, help="Width of a stimulus in degrees."),
        click.option("--window-ms", metavar="FROM-TO", help="Time bins to average, or what was counted: 70-170."),
        click.option("--name", help="What results call it.  [default: as the file]"),
        click.option("--allow-subset", is_flag=True, help="Keep the stimuli that have an image."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _open_recordings(names: tuple[str, ...], said: dict[str, Any]) -> list["engine.Recording"]:
    """Open recordings; what is said of a file can only be said of one."""
    said = {key: value for key, value in said.items() if value not in (None, False)}
    if said and len(names) > 1:
        option = f"--{next(iter(said)).replace('_', '-')}"
        raise click.UsageError(
            f"{option} is about one recording, {len(names)} are named: write a recording.toml for each."
        )
    return [engine.open_recording(name, **said) for name in names]


_SAID = ("images", "stimulus_set", "order", "region", "size_deg", "window_ms", "name", "allow_subset")


@main.command()
@click.argument("network")
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING...")
@_WEIGHTS
@_WEIGHTS_SEED
@click.option("--layers", help="Only these, names or patterns separated by commas, as in 'features.*,fc'.")
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
    opened = _open_recordings(recordings, {key: settings.pop(key) for key in _SAID})
    loaded = _loaded(network, weights, weights_seed, layers)
    if plan:
        click.echo(f"{_layers_table(loaded)}\n")
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


def _loaded(network: str, weights: str | None, seed: int, layers: str | None) -> "engine.Network":
    """Load a network with the chosen layers, and say what was taken for granted of its weights."""
    chosen = None if layers is None else [name.strip() for name in layers.split(",")]
    loaded = engine.load_network(network, weights=weights, seed=seed, layers=chosen)
    if notes := loaded.metadata.get("weights_notes"):
        click.echo(f"{loaded.name}: {notes}.", err=True)
    return loaded


def _layers_table(network: "engine.Network") -> str:
    total = f"{len(network.layers)} layers, {int(network.layers['units'].sum()):,} units."
    return f"{_table(network.layers)}\n\n{total}"


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


@main.command("check-data")
@click.argument("recording")
@click.option("--save", type=click.Path(path_type=Path), help="Write it, with its images, to this new folder.")
@recording_options
def check_data(recording: str, save: Path | None, **said: Any) -> None:
    r"""Say what a RECORDING holds, whether responses and images belong together, and what can be done with it.

    RECORDING is a Brain-Score assembly or another netCDF-4 file (.nc), .npz, .npy, .csv, .tsv, a zarr folder, a folder
    with one of them, or a name. What the options say, a recording.toml in its folder may say, too.

    \b
    unitscope check-data assy_lab_Session.nc --window-ms 70-170
    unitscope check-data session.npz --images images.zip --region V4 --size-deg 8
    unitscope check-data responses.npy --order order.txt --images images/
    unitscope check-data cowley-v4/210325
    unitscope check-data session.csv --images images.zip --save ~/recordings/session
    """
    from engine.data_checks import check_data as check
    from engine.formats.given import NOTES, checksum_line
    from engine.formats.opening import is_readable
    from engine.recording_files import MANIFEST

    opened = _open_recordings((recording,), said)[0]
    click.echo(check(opened).describe())
    if is_readable(Path(recording)) and not (Path(recording) / MANIFEST).exists():
        line = checksum_line(Path(recording))
        click.echo(f"To notice any change of the file, write into {NOTES} beside it: {line}")
    if save is not None:
        click.echo(f"saved: unitscope match NETWORK {opened.save(save)}")


@main.command()
@click.argument("run")
@click.argument("names", nargs=-1, metavar="[ANALYSIS]...")
@click.option("--all", "every", is_flag=True, help="All that can be computed for this run; says what the others lack.")
@click.option("--set", "given", multiple=True, metavar="KEY=VALUE", help="A setting of the analysis; may be repeated.")
@click.option("--seed", default=0, show_default=True, help="Of whatever the analysis draws.")
@click.option("--network", help="The network that was matched, if the run does not tell: MODULE:CALLABLE or a name.")
@click.option("--weights", help="Its weights, if they came from a file.")
@click.option("--recording", help="The recording that was matched, by name or path, if it lies elsewhere now.")
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
) -> None:
    r"""Compute analyses of a RUN once, and store them with the run; without a name, list them.

    RUN is a path, network@recording, or the beginning of a digest. The expected time is printed first. Network and
    images, where an analysis needs them, are opened by the names that the run recorded.

    \b
    unitscope analyse squeezenet1_1@builtin
    unitscope analyse squeezenet1_1@builtin rotation --set rotations=20 --seed 1
    unitscope analyse squeezenet1_1@builtin --all
    unitscope analyse mine@planted rotation --network mymodule:make_network --recording planted/
    """
    from engine.analyses import ANALYSES
    from engine.analyses.batch import compute_all, settings_by_name
    from engine.sources import Source

    opened = engine.open_run(run, store)
    loaded = network if weights is None else _weighted(opened, network, weights)
    source = Source(opened, network=loaded, recording=recording, device=device, memory=memory)
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


@main.command()
@click.argument("collection")
@click.argument("sessions", nargs=-1)
@click.option(
    "--from", "source", type=click.Path(path_type=Path, exists=True, file_okay=False), help="A local copy instead."
)
def fetch(collection: str, sessions: tuple[str, ...], source: Path | None) -> None:
    r"""Fetch real recordings from their publisher, every file checked by its published checksum.

    \b
    unitscope fetch cowley-v4                    the three documented sessions
    unitscope fetch cowley-v4 190923 --from DIR
    unitscope fetch majajhong2015                Brain-Score's public V4 and IT: variations 0 and 3
    unitscope fetch majajhong2015 --from ~/.brainio
    """
    for name in engine.fetch(collection, sessions or None, source=source):
        click.echo(name)


@main.command("list")
@click.argument("what", type=click.Choice(["runs", "recordings", "networks", "layers"]), default="runs")
@click.argument("network", required=False)
@_WEIGHTS
@_WEIGHTS_SEED
@click.option("--layers", help="Only these, names or patterns separated by commas, as in 'features.*,fc'.")
@_STORE
def list_(
    what: str, network: str | None, weights: str | None, weights_seed: int, layers: str | None, store: Path | None
) -> None:
    r"""List runs, recordings, networks, or the layers of NETWORK with why the others are left out.

    \b
    unitscope list recordings
    unitscope list layers squeezenet1_1
    unitscope list layers torchvision:vit_b_16 --weights random --layers 'encoder.layers.*.mlp.*'
    """
    if what == "layers":
        if not network:
            raise click.UsageError("name the network: unitscope list layers NETWORK")
        loaded = _loaded(network, weights, weights_seed, layers)
        click.echo(f"{_layers_table(loaded)} Left out:")
        click.echo(_table(loaded.left_out))
        return
    tables = {"recordings": engine.list_recordings, "networks": engine.list_networks}
    table = tables[what]() if what in tables else engine.list_runs(store).assign(digest=lambda t: t["digest"].str[:12])
    click.echo(_table(table) if len(table) else "No runs yet. Make one: unitscope match NETWORK RECORDING")
    if what == "networks":
        click.echo("and torchvision:NAME, timm:NAME (with --weights), MODULE:CALLABLE (a function of yours)")


@main.command("convert-weights")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--part", help="Which of several state dicts, by the name under which FILE holds it.")
def convert_weights(file: Path, output: Path, part: str | None) -> None:
    r"""Write the weights in a checkpoint FILE again as OUTPUT.safetensors, which holds tensors and nothing else.

    No code of the file runs: what needs more than tensors and plain values is refused, here as everywhere.

    \b
    unitscope convert-weights checkpoint.pt mine.safetensors --part model_ema
    unitscope match torchvision:resnet50 builtin --weights mine.safetensors
    """
    from engine.weights import convert_weights as convert

    read = convert(file, output, part)
    note = f", {read.note} of {file.name}" if read.note else ""
    click.echo(f"{output}: {len(read.tensors)} tensors{note}.")


@main.command()
@click.argument("network")
@click.option("--weights", default="pretrained", show_default=True, help="pretrained, random, or a file of weights.")
@_WEIGHTS_SEED
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


@main.command()
@_STORE
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


def _table(table: pd.DataFrame) -> str:
    text = table.to_string(index=False, na_rep="", justify="left")
    return re.sub(r"[^\S\n]+$", "", text, flags=re.MULTILINE)


if __name__ == "__main__":
    main()
