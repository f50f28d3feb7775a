"""Options and printed tables that several commands share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pandas as pd

import engine

STORE = click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Folder of the runs. [default: $UNITSCOPE_STORE, else your data folder]",
)

WEIGHTS = click.option(
    "--weights",
    help="pretrained, random, or a file.  [default: pretrained; torchvision's and timm's networks need a choice]",
)
WEIGHTS_SEED = click.option(
    "--weights-seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of random weights."
)
LAYERS = click.option("--layers", help="Only these, names or patterns separated by commas, as in 'features.*,fc'.")

SAID = ("images", "stimulus_set", "order", "region", "size_deg", "window_ms", "name", "allow_subset")
"""What ``recording_options`` may say."""


def match_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every command shares which computes a match."""
    options = [
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option(
            "--memory", default="4GiB", show_default=True, help="Bound of the peak beside the loaded network."
        ),
        STORE,
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


def open_recordings(names: tuple[str, ...], said: dict[str, Any]) -> list["engine.Recording"]:
    """Open recordings; what is said of a file can only be said of one."""
    said = {key: value for key, value in said.items() if value is not None and value is not False}
    if said and len(names) > 1:
        option = f"--{next(iter(said)).replace('_', '-')}"
        raise click.UsageError(
            f"{option} is about one recording, {len(names)} are named: write a recording.toml for each."
        )
    return [engine.open_recording(name, **said) for name in names]


def loaded_network(network: str, weights: str | None, seed: int, layers: str | None) -> "engine.Network":
    """Load a network with the chosen layers, and say what was taken for granted of its weights."""
    chosen = None if layers is None else [name.strip() for name in layers.split(",")]
    loaded = engine.load_network(network, weights=weights, seed=seed, layers=chosen)
    if notes := loaded.metadata.get("weights_notes"):
        click.echo(f"{loaded.name}: {notes}.", err=True)
    return loaded


def layers_table(network: "engine.Network") -> str:
    """Return the layers of a network as lines of text, with their number and units."""
    total = f"{len(network.layers)} layers, {int(network.layers['units'].sum()):,} units."
    return f"{as_text(network.layers)}\n\n{total}"


def as_text(table: pd.DataFrame) -> str:
    """Return a table as lines of text."""
    text = table.to_string(index=False, na_rep="", justify="left")
    return re.sub(r"[^\S\n]+$", "", text, flags=re.MULTILINE)
