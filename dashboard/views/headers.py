"""What does a page say first? Its title, the numbers that answer it, and why one is not known."""

import numpy as np

from dashboard.figures.wording import fixed, plural
from dashboard.results import Chosen
from dashboard.runs import OpenRun
from dashboard.views.markup import Markup, tag

NO_MATCH = {"constant": "the site's response never varies", "n_too_small": "fewer than 3 responses"}
"""Status of a site that has no match -> words."""


def title_line(title: str, chosen: Chosen) -> Markup:
    """Return the first part of a header line: the page's title, and region and recording below."""
    return tag(
        "div",
        tag("h1", title),
        tag("p", tag("span", chosen.region, class_="region"), f" · {chosen.run.recording}", class_="quiet cut"),
        class_="who",
    )


def stat(label: str, text: str, note: object = "", *, kind: str = "") -> Markup:
    """Return one number of the header line: what it is, the number, and its interval, folds or method in small grey."""
    classes = f"n {kind}" + (" unknown" if text.startswith(("n/a", "not available")) else "")
    return tag("dl", tag("dt", label), tag("dd", tag("span", text, class_=classes), note), class_="stat")


def ceiling_note(run: OpenRun, ceiling: float, *, of: str = "site") -> Markup:
    """Return the noise ceiling with its method, or why there is none; ``of`` a "site" or a "region"."""
    if np.isfinite(ceiling):
        return stat("noise ceiling", fixed(ceiling), run.ceiling_method)
    return stat(
        "noise ceiling",
        run.ceiling_method if not np.isfinite(run.noise_ceiling.values).any() else f"not available for this {of}",
    )


def folds_note(run: OpenRun) -> str:
    """Say how many folds a held-out r is a mean of, or why there is none."""
    return plural(run.n_folds, "fold") if run.n_folds > 1 else "not held out: 1 fold"


def no_match(chosen: Chosen) -> str:
    """Say why the site has no match; runs that do not tell get the plain fact."""
    matches = chosen.run.dataset("matches")
    status = str(matches["site_status"].sel(site=chosen.site).item()) if "site_status" in matches else ""
    return NO_MATCH.get(status, "no unit has an r with this site")
