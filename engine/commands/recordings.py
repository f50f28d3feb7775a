"""``unitscope check-data`` and ``fetch``: recordings of the user's own, and public ones."""

from pathlib import Path
from typing import Any

import click

import engine
from engine.commands.options import open_recordings, recording_options


@click.command("check-data")
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

    opened = open_recordings((recording,), said)[0]
    click.echo(check(opened).describe())
    if is_readable(Path(recording)) and not (Path(recording) / MANIFEST).exists():
        line = checksum_line(Path(recording))
        click.echo(f"To notice any change of the file, write at the end of {NOTES} beside it:\n{line}")
    if save is not None:
        click.echo(f"saved: unitscope match NETWORK {opened.save(save)}")


@click.command()
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

    The download of majajhong2015 could not be tried against its publisher yet: it is untested. --from is tested.
    """
    for name in engine.fetch(collection, sessions or None, source=source):
        click.echo(name)
