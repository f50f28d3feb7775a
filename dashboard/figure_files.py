"""How does a figure of a stored run become files? A picture, its data as csv, and where both come from as json.

Nothing is computed here: an analysis that the run does not hold is named, with the command that computes it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dashboard.provenance import commands, group_in, provenance
from dashboard.registry import FIGURES, Asked, Figure, ask, plain_name
from dashboard.requests import analyse_command
from engine.analyses import ANALYSES, find_analysis
from engine.encoding import as_json
from engine.errors import NotAvailableError, SettingsError
from engine.interchange import as_csv
from engine.store import Run

KINDS = ("svg", "pdf", "png")


def export_figure(
    run: Run,
    name: str,
    file: Path,
    *,
    region: str | None = None,
    site: str | None = None,
    others: Sequence[Run] = (),
) -> list[Path]:
    """Draw a figure of a run, and write its data and provenance beside it.

    Parameters
    ----------
    run
        The run.
    name
        Of the figure, see ``dashboard.registry.FIGURES``.
    file
        Where to, ending in .svg, .pdf or .png; the data go to the same name with .csv, the provenance to .json.
    region
        Of the recording; needed where it has several and the figure shows one.
    site
        Of the recording; needed where the figure shows one.
    others
        Runs of other networks on the same recording, for figures that compare.

    Returns
    -------
    list of Path
        What was written: picture, csv, json.

    Raises
    ------
    SettingsError
        If there is no such figure, site or region, or the file's name ends otherwise.
    NotAvailableError
        If the run does not hold an analysis that the figure shows; names the command that computes it.
    """
    kind, figure = _kind(file), find_figure(name)
    require_analyses(run, figure, site)
    for other in others:
        require_analyses(other, figure, site, is_other=True)
    asked = ask(run, figure, region=region, site=site, others=others)
    from dashboard.exporting import as_picture, heading_of  # loads the drawing libraries

    data = figure.data(asked)
    heading, footer = heading_of(figure.module, data), _footer(asked, figure)
    chosen = {"region": region, "site": site}
    told = {
        **provenance(run, figure, others, site),
        "title": heading.title,
        "caption": heading.caption,
        "keys": [key.label for key in heading.keys],
        "footer": footer,
        "data": _without_nan(as_json(data.attrs, "attributes of the figure's data")),
        "commands": commands(run, figure, others, {key: value for key, value in chosen.items() if value}, file.name),
    }
    metadata = {"Title": heading.title, "Description": "\n".join([heading.caption, footer, *told["commands"]])}
    picture = as_picture(
        figure.describe(data, asked),
        kind,
        width=figure.width,
        height=figure.height,
        footer=footer,
        heading=heading,
        metadata=metadata,
    )
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False)
    return _write(file, {kind: picture, "csv": as_csv(data), "json": text.encode("utf-8")})


def figures_table(run: Run) -> str:
    """Say of every figure what it shows, what it needs to be told, and whether the run holds what it reads."""
    rows = [("figure", "needs", "state", "of the paper", "what it shows")]
    for name, figure in FIGURES.items():
        rows.append((name, _needs(run, figure), _state(run, figure), figure.number or "-", figure.module.TITLE))
    widths = [max(len(row[column]) for row in rows) + 2 for column in range(len(rows[0]))]
    lines = ["".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _needs(run: Run, figure: Figure) -> str:
    """Return the options that a figure of this run needs."""
    if "site" in figure.takes:
        return "--site"
    options = ["--region"] if "region" in figure.takes and _n_regions(run) > 1 else []
    return " ".join([*options, *["--with RUN"] * (figure.n_others > 0)])


def _state(run: Run, figure: Figure) -> str:
    absent = absent_analyses(run, figure)
    if absent:
        return f"first: {command_for(run, absent)}"
    return "ready" if figure.n_regions <= _n_regions(run) else "one region only"


def find_figure(name: str) -> Figure:
    """Return the figure of that name, or say which there are."""
    if name not in FIGURES:
        raise SettingsError(f"there is no figure {name!r}. There are: {', '.join(FIGURES)}.")
    return FIGURES[name]


def _kind(file: Path) -> str:
    kind = file.suffix.lstrip(".").lower()
    if kind not in KINDS:
        raise SettingsError(
            f"-o {file}: expected a name that ends in .svg, .pdf or .png (a figure), .nc, .zarr or .csv (a dataset)."
        )
    if not file.absolute().parent.is_dir():
        raise SettingsError(f"-o {file}: there is no folder {file.absolute().parent}. Make it, or name another.")
    return kind


def absent_analyses(run: Run, figure: Figure, site: str | None = None, *, is_other: bool = False) -> list[str]:
    """Return the analyses that a figure shows and the run does not hold, or only of another version."""
    needed = [name for name in figure.reads if not name.endswith("?")]
    names = [name for name in needed if not is_other or name.endswith("*")]
    return [plain_name(name) for name in names if plain_name(name) in ANALYSES and not _is_held(run, name, site)]


def _is_held(run: Run, name: str, site: str | None) -> bool:
    group, version = group_in(run, name, site), find_analysis(plain_name(name)).module.VERSION
    return group in run.names and run.attributes(group).get("analysis_version", 1) == version


def require_analyses(run: Run, figure: Figure, site: str | None = None, *, is_other: bool = False) -> None:
    """Refuse a figure whose analyses the run does not hold, with the command that computes them."""
    if site is None and any(name.endswith("@") for name in figure.reads):
        return  # that a site must be named is said first
    absent = absent_analyses(run, figure, site, is_other=is_other)
    if absent:
        raise NotAvailableError(
            f"figure {figure.name!r} shows {', '.join(absent)}, which {run.network}@{run.recording} does not hold. "
            f"Compute it first: {command_for(run, absent, site)}"
        )


def command_for(run: Run, analyses: Sequence[str], site: str | None = None) -> str:
    """Return the command that computes analyses, with a place for each setting that must be given."""
    lacking = dict.fromkeys(setting for name in analyses for setting in find_analysis(name).lacking({}))
    known = {"site": site or "SITE", "other": "RUN"}
    return analyse_command(run.digest, analyses, {name: known.get(name, name.upper()) for name in lacking})


def _n_regions(run: Run) -> int:
    return len(set(run.dataset("recording")["region"].values.tolist()))


def _footer(asked: Asked, figure: Figure) -> str:
    from dashboard.views.footer import paper_footer

    return paper_footer([asked.run, *asked.others], [asked.region] if figure.takes else asked.run.regions)


def _without_nan(value: Any) -> Any:
    """Return JSON-like content with null in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(file: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write picture, csv and json; a csv of that name which came from elsewhere is left alone."""
    paths = [file.with_suffix(f".{suffix}") for suffix in contents]
    if paths[1].exists() and not _is_ours(paths[2]):
        raise SettingsError(f"{paths[1]} is there already and is not of a figure. Name another file with -o.")
    for path, content in zip(paths, contents.values(), strict=True):
        try:
            path.write_bytes(content)
        except OSError as error:
            raise SettingsError(f"{path} cannot be written: {error.strerror or error}.") from error
    return paths


def _is_ours(path: Path) -> bool:
    try:
        return {"figure", "commands"} <= json.loads(path.read_text()).keys()
    except (OSError, ValueError, AttributeError):
        return False
