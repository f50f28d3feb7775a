"""``unitscope list`` and ``convert-weights``: what there is to match, and weights made safe to read."""

from pathlib import Path

import click

import engine
from engine.commands.options import LAYERS, STORE, WEIGHTS, WEIGHTS_SEED, as_text, layers_table, loaded_network


@click.command("list")
@click.argument("what", type=click.Choice(["runs", "recordings", "networks", "layers"]), default="runs")
@click.argument("network", required=False)
@WEIGHTS
@WEIGHTS_SEED
@LAYERS
@STORE
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
        loaded = loaded_network(network, weights, weights_seed, layers)
        click.echo(f"{layers_table(loaded)} Left out:")
        click.echo(as_text(loaded.left_out))
        return
    tables = {"recordings": engine.list_recordings, "networks": engine.list_networks}
    table = tables[what]() if what in tables else engine.list_runs(store).assign(digest=lambda t: t["digest"].str[:12])
    click.echo(as_text(table) if len(table) else "No runs yet. Make one: unitscope match NETWORK RECORDING")
    if what == "networks":
        click.echo("and torchvision:NAME, timm:NAME (with --weights), MODULE:CALLABLE (a function of yours)")


@click.command("convert-weights")
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
