"""The command ``unitscope export``: one figure, one dataset, or everything of a run as files."""

import json
import os
import shlex
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from dashboard.drawable import OF_STIMULI, chosen_sites, lack_of, others_for, questions
from dashboard.exporting import file_name
from dashboard.figure_files import KINDS, export_figure, figures_table
from dashboard.provenance import provenance
from dashboard.registry import FIGURES, Figure, require_same_recording
from dashboard.runs import OpenRun
from engine.durable import TEMPORARY
from engine.errors import EngineError, SettingsError
from engine.interchange import FORMATS, write_dataset
from engine.store import Run, open_run

OF_PICTURES = "thumbnails"
"""The dataset that holds the stimuli, small."""


@dataclass(frozen=True)
class Exported:
    """What went into the folder: files by figure or dataset, and why others did not."""

    folder: Path
    files: dict[str, list[str]]
    absent: dict[str, str]


def export_all(
    run: Run,
    folder: Path,
    *,
    picture: str = "svg",
    data: str = "netcdf",
    others: Sequence[Run] = (),
    with_images: bool = False,
    told: Callable[[str], None] = lambda line: None,
) -> Exported:
    """Write every figure and every dataset of a run into a new folder.

    Parameters
    ----------
    run
        The run.
    folder
        Where to; it must not exist yet, or be empty. It appears when everything is in it.
    picture
        Of the figures: "svg", "pdf" or "png". Their data (csv) and provenance (json) stand beside them. Figures of one
        site show the best match of each region.
    data
        Of the datasets: "netcdf", "zarr" or "csv".
    others
        Runs of other networks on the same recording, for figures that compare.
    with_images
        Whether what shows the stimuli is written too: ask whether they may be passed on.
    told
        Called with a line for each figure and dataset.

    Returns
    -------
    Exported
        Also written as ``contents.json``.

    Raises
    ------
    SettingsError
        If the folder holds something or cannot be written. Nothing is left there then.
    RunNotFoundError
        If another run is of another recording.
    StoreError
        If a dataset is damaged.
    """
    _require_free(folder)
    require_same_recording(run, others)
    part = folder.absolute().with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{folder.absolute().name}")
    try:
        (part / "figures").mkdir(parents=True)
        (part / "data").mkdir()
        absent: dict[str, str] = {}
        files = {
            **_datasets(run, part / "data", data, with_images, told, absent),
            **_figures(run, part / "figures", picture, others, with_images, told, absent),
        }
        _write_contents(run, part, files, absent)
        if folder.exists():
            folder.rmdir()
        os.replace(part, folder)
    except OSError as error:
        raise SettingsError(f"{folder} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Exported(folder, files, absent)


def _require_free(folder: Path) -> None:
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise SettingsError(f"{folder}: there is no folder {parent}. Make it, or name another.")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise SettingsError(f"{folder} is there already. Name a new folder, or an empty one.")


def _datasets(
    run: Run, folder: Path, form: str, with_images: bool, told: Callable[[str], None], absent: dict[str, str]
) -> dict[str, list[str]]:
    files = {}
    for name in run.names:
        if name == OF_PICTURES and not with_images:
            absent[name] = "shows the stimuli: --with-images, where they may be passed on"
            continue
        told(name)
        written = write_dataset(run, name, folder / f"{name}{FORMATS[form]}")
        files[name] = [f"data/{path.name}" for path in written]
    return files


def _figures(
    run: Run,
    folder: Path,
    kind: str,
    others: Sequence[Run],
    with_images: bool,
    told: Callable[[str], None],
    absent: dict[str, str],
) -> dict[str, list[str]]:
    opened, compared = OpenRun(run), list(map(OpenRun, others))
    files: dict[str, list[str]] = {}
    for figure in FIGURES.values():
        key = f"figure {figure.name}"
        if figure.name in OF_STIMULI and not with_images:
            absent[key] = "shows the stimuli: --with-images, where they may be passed on"
            continue
        why = lack_of(opened, compared, figure)
        if why is not None:
            absent[key] = f"{why.why}: {why.command}" if why.command else why.why
            continue
        told(key)
        try:
            files[key] = [f"figures/{path.name}" for path in _drawn(opened, compared, figure, folder, kind)]
        except EngineError as error:
            absent[key] = str(error)
    return files


def _drawn(run: OpenRun, others: list[OpenRun], figure: Figure, folder: Path, kind: str) -> Iterator[Path]:
    """Draw a figure once, for each region, or for the best match of each."""
    for asked in questions(run, others_for(figure, others), figure, chosen_sites(run, [])):
        of = {name: text for name, text in {"region": asked.region, "site": asked.site}.items() if name in figure.takes}
        stored = [other.stored for other in asked.others]
        file = folder / file_name(figure.name, *of.values(), kind=kind)
        yield from export_figure(run.stored, figure.name, file, others=stored, **of)


def _write_contents(run: Run, folder: Path, files: dict[str, list[str]], absent: dict[str, str]) -> None:
    about = provenance(run, next(iter(FIGURES.values())))
    told = {"runs": about["runs"], "unitscope": about["unitscope"], "files": files, "not written": absent}
    (folder / "contents.json").write_text(json.dumps(told, indent=2, ensure_ascii=False), encoding="utf-8")


@click.command()
@click.argument("run")
@click.argument("what", metavar="[NAME | FOLDER]", required=False)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="FILE.svg, .pdf, .png: a figure; .nc, .zarr, .csv: a dataset.",
)
@click.option("--all", "everything", is_flag=True, help="Every figure and every dataset, into a new FOLDER.")
@click.option("--picture", type=click.Choice(KINDS), default="svg", show_default=True, help="With --all: of figures.")
@click.option(
    "--data", type=click.Choice(list(FORMATS)), default="netcdf", show_default=True, help="With --all: of datasets."
)
@click.option("--with-images", is_flag=True, help="With --all: also what shows the stimuli. May they be passed on?")
@click.option("--region", help="Where the recording has several.")
@click.option("--site", help="For figures of one site.")
@click.option(
    "--with", "others", multiple=True, metavar="RUN", help="A run of another network, to compare; repeatable."
)
@click.option("--store", type=click.Path(path_type=Path), help="Folder of the runs.")
def export(
    run: str,
    what: str | None,
    output: Path | None,
    everything: bool,
    picture: str,
    data: str,
    with_images: bool,
    region: str | None,
    site: str | None,
    others: tuple[str, ...],
    store: Path | None,
) -> None:
    r"""Write a figure or a dataset of a RUN, or everything of it, as files that say where they come from.

    RUN is a path, network@recording, or the beginning of a digest. Without a name, list the figures and datasets.

    A figure is svg, pdf or png; its data (csv) and the commands that make it again (json) go beside it. A dataset is
    netCDF (.nc), zarr or csv, with the meaning and unit of each variable.

    \b
    unitscope export squeezenet1_1@builtin
    unitscope export squeezenet1_1@builtin rotation -o rotation.svg
    unitscope export squeezenet1_1@builtin layer_profile --site v4-10 -o site.pdf
    unitscope export squeezenet1_1@builtin matches -o matches.nc
    unitscope export --all squeezenet1_1@builtin results
    """
    opened = open_run(run, store)
    compared = [open_run(other, store) for other in others]
    if everything:
        if what is None:
            raise click.UsageError(f"name the new folder: unitscope export --all {shlex.quote(run)} FOLDER")
        _echo_all(opened, Path(what), picture, data, compared, with_images)
    elif what is None:
        click.echo(f"{opened.network}@{opened.recording}  run {opened.digest[:12]}\n{figures_table(opened)}")
        click.echo(f"\ndatasets (-o FILE.nc, .zarr or .csv): {', '.join(opened.names)}")
    elif output is None:
        raise click.UsageError(f"name the file: unitscope export {shlex.quote(run)} {what} -o {what}.svg")
    elif output.suffix in FORMATS.values():
        for path in write_dataset(opened, what, output):
            click.echo(path)
    else:
        for path in export_figure(opened, what, output, region=region, site=site, others=compared):
            click.echo(path)


def _echo_all(run: Run, folder: Path, picture: str, data: str, others: Sequence[Run], with_images: bool) -> None:
    shown = (lambda line: click.echo(line, err=True)) if os.isatty(2) else (lambda line: None)
    found = export_all(run, folder, picture=picture, data=data, others=others, with_images=with_images, told=shown)
    n_figures = sum(key.startswith("figure ") for key in found.files)
    click.echo(f"{folder}: {len(found.files) - n_figures} datasets, {n_figures} figures. Not written:")
    for key, why in found.absent.items():
        click.echo(f"  {key}: {why}")
