"""What do the figures of a page rest on? A line below the page, and below each exported picture."""

from collections.abc import Sequence

from dashboard.figures.wording import plural, thousands
from dashboard.results import Chosen
from dashboard.runs import OpenRun
from dashboard.views.keys import _keys
from dashboard.views.markup import Markup, icon, tag


def provenance(runs: Sequence[OpenRun], regions: Sequence[str]) -> list[str]:
    """Return what figures rest on: recording, sites of the regions x images, networks, units, folds and seed.

    ``runs`` are one or more of the same recording, the chosen one first or all in the order of the page.
    """
    run = runs[0]
    n_sites = sum(len(run.sites(region)) for region in regions)
    repeats = run.attrs.get("n_repeats")
    units = f"{plural(len(run.layers), 'layer')}, {thousands(run.n_units)} units"
    settings = dict.fromkeys(f"{plural(run.n_folds, 'fold')}, seed {run.manifest.get('seed', 'n/a')}" for run in runs)
    return [
        run.recording + (" (SIMULATED)" if run.is_simulated else ""),
        f"{plural(n_sites, 'site')} × {plural(len(run.stimuli), 'image')}"
        + (f", mean of {repeats} repeats" if repeats else ""),
        "; ".join(dict.fromkeys(map(_with_weights, runs))),
        *([units] if len(runs) == 1 else []),
        "; ".join(settings),
    ]


def paper_footer(runs: Sequence[OpenRun], regions: Sequence[str]) -> str:
    """Return the line below an exported figure: its provenance, with regions and runs."""
    digests = ", ".join(run.digest[:8] for run in runs)
    recording, *rest = provenance(runs, regions)
    return " · ".join([recording, ", ".join(regions), *rest, f"run {digests}", "unitscope"])


def footer(chosen: Chosen) -> Markup:
    """Return provenance, with the run to copy, and four keys."""
    run = chosen.run
    told = provenance([run], run.regions)
    created = str(run.manifest.get("created", ""))[:10]
    return tag(
        "footer",
        tag("span", " · ".join(told), class_="cut", title=" · ".join(told)),
        tag("span", class_="room"),
        tag("span", f"run {run.digest[:8]}" + (f" · {created}" if created else ""), style="white-space:nowrap"),
        tag("button", icon("copy"), data_do="copy", data_text=run.digest, aria_label="Copy the digest of the run"),
        tag(
            "span",
            _keys("↑", "↓"),
            tag("span", "site", class_="what"),
            _keys("←", "→"),
            tag("span", "rank", class_="what"),
            _keys("?"),
            tag("span", "all keys"),
            class_="keys",
            aria_hidden="true",
        ),
        class_="footer",
    )


def titles(runs: Sequence[OpenRun]) -> dict[str, OpenRun]:
    """Return runs by a title of their own: the network's, or its name where two share a title."""
    told = [run.network_title for run in runs]
    return {title if told.count(title) == 1 else run.network: run for title, run in zip(told, runs, strict=True)}


def _with_weights(run: OpenRun) -> str:
    kind = _kind_of_weights(run)
    return f"{run.network_title}, {kind} weights" if kind and "random" not in run.network_title else run.network_title


def _kind_of_weights(run: OpenRun) -> str:
    """Return a word for the network's weights: whether those that somebody brought are trained is not known."""
    if run.is_control:
        return "random"
    if run.weights.startswith("pretrained"):
        return "trained"
    return "own" if run.weights else ""
