"""How does a run go to a colleague without the store? One page that holds everything, and asks for nothing outside.

Every figure that the run's groups allow is drawn, for every region; a figure that is not drawn is named, with what
would make it. Stimuli are in the page only where that was asked for.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dashboard.drawable import OF_STIMULI, Absent, chosen_sites, lack_of, others_for, questions
from dashboard.provenance import commands
from dashboard.registry import FIGURES, Asked, Figure, require_same_recording
from dashboard.runs import OpenRun
from engine.errors import EngineError, SettingsError
from engine.store import Run, open_run

if TYPE_CHECKING:
    import pandas as pd

    from dashboard.exporting import Heading
    from dashboard.figures.marks import Drawing

GENERATOR = "unitscope report"
SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class Entry:
    """One figure of a report: of which region or site, its data, what it shows, and how to make it again."""

    figure: Figure
    of: str
    data: "pd.DataFrame"
    heading: "Heading"
    drawing: "Drawing"
    command: str


def write_report(
    run: Run,
    file: Path,
    *,
    sites: Sequence[str] = (),
    others: Sequence[Run] = (),
    with_images: bool = False,
    theme: str = "light",
) -> Path:
    """Write everything that is known of a run as one page, which needs nothing but a browser.

    Parameters
    ----------
    run
        The run.
    file
        Where to, ending in .html; an earlier report of that name is replaced, any other file is left alone.
    sites
        For the figures of one site; by default the best match of each region.
    others
        Runs of other networks on the same recording, for figures that compare.
    with_images
        Whether the stimuli are in it, as thumbnails of 48 px: ask whether they may be passed on.
    theme
        "light" or "dark".

    Returns
    -------
    Path
        The file.

    Raises
    ------
    SettingsError
        If there is no such site, the name ends otherwise, or the file cannot be written there. Nothing is drawn then.
    RunNotFoundError
        If another run is of another recording.
    """
    _require_writable(file)
    require_same_recording(run, others)
    opened = OpenRun(run)
    chosen = chosen_sites(opened, sites)
    entries, absent = _drawn(opened, list(map(OpenRun, others)), chosen, with_images)
    from dashboard.views.report_page import report_page  # loads the drawing libraries

    html = report_page(opened, entries, absent, with_images=with_images, mode="dark" if theme == "dark" else "light")
    _write(file, html)
    return file


@click.command()
@click.argument("run")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="FILE.html.")
@click.option(
    "--site", "sites", multiple=True, help="For figures of one site; repeatable. Default: each region's best."
)
@click.option(
    "--with", "others", multiple=True, metavar="RUN", help="A run of another network, to compare; repeatable."
)
@click.option("--with-images", is_flag=True, help="Put thumbnails of the stimuli in: may they be passed on?")
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True)
@click.option("--store", type=click.Path(path_type=Path), help="Folder of the runs.")
def report(
    run: str,
    output: Path,
    sites: tuple[str, ...],
    others: tuple[str, ...],
    with_images: bool,
    theme: str,
    store: Path | None,
) -> None:
    r"""Write all figures of a RUN into one page for a colleague without the store.

    RUN is a path, network@recording, or the beginning of a digest. The page holds everything: it needs no network.

    \b
    unitscope report squeezenet1_1@builtin -o report.html
    unitscope report squeezenet1_1@builtin -o report.html --site v4-10 --with-images
    """
    _require_writable(output)
    opened = open_run(run, store)
    compared = [open_run(other, store) for other in others]
    written = write_report(opened, output, sites=sites, others=compared, with_images=with_images, theme=theme)
    click.echo(f"{written}  {written.stat().st_size / 1e6:.1f} MB")


def _require_writable(file: Path) -> None:
    """Refuse before anything is drawn."""
    parent = file.absolute().parent
    if file.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"-o {file}: expected a name that ends in .html.")
    if not parent.is_dir():
        raise SettingsError(f"-o {file}: there is no folder {parent}. Make it, or name another.")
    if not os.access(parent, os.W_OK):
        raise SettingsError(f"-o {file}: {parent} cannot be written to. Name a folder of yours.")
    if file.exists() and not _is_ours(file):
        raise SettingsError(f"{file} is there already and is not a report. Name another file with -o.")


def _is_ours(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            return f'content="{GENERATOR}' in stream.read(2000)
    except OSError:
        return False


def _drawn(
    run: OpenRun, others: list[OpenRun], sites: dict[str, list[str]], with_images: bool
) -> tuple[list[Entry], list[Absent]]:
    entries: list[Entry] = []
    absent: list[Absent] = []
    for figure in sorted(FIGURES.values(), key=lambda figure: "site" in figure.takes):  # those of one site last
        if figure.name in OF_STIMULI and not with_images:
            continue
        why = lack_of(run, others, figure)
        if why is not None:
            absent.append(why)
            continue
        try:
            entries += [_entry(asked, figure) for asked in questions(run, others_for(figure, others), figure, sites)]
        except EngineError as error:
            absent.append(Absent(figure, str(error)))
    return entries, absent


def _entry(asked: Asked, figure: Figure) -> Entry:
    from dashboard.exporting import heading_of

    data = figure.data(asked)
    of = {"site": asked.site, "region": asked.region}
    named: dict[str, str] = {name: text for name, text in of.items() if name in figure.takes}
    if "site" in named:
        named.pop("region", None)
    others = [other.stored for other in asked.others]
    told = commands(asked.run.stored, figure, others, named, f"{figure.name}.svg")
    return Entry(
        figure,
        of=next(iter(named.values()), ""),
        data=data,
        heading=heading_of(figure.module, data),
        drawing=figure.describe(data, asked),
        command=told[-1],
    )


def _write(file: Path, html: str) -> None:
    """Write beside the place and move in when complete."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        part.write_text(html, encoding="utf-8")
        os.replace(part, file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SettingsError(f"-o {file} cannot be written: {error.strerror or error}.") from error
