"""What does a figure show, in numbers? Its data as a table, for who cannot see a canvas or wants the values."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from dashboard.figures.wording import MINUS, UNKNOWN, fixed, plural, thousands
from dashboard.views.markup import Markup, icon, tag

MENU = "tabulated"
MOST_ROWS = 1000
"""Rows that the browser gets; the csv has all."""


def tabulated(table: pd.DataFrame, name: str, title: str, caption: str, provenance: str = "") -> Markup:
    """Return the dialog that holds the data of a panel.

    Parameters
    ----------
    table
        Data of the panel: those of its csv.
    name
        Of the panel, for its csv.
    title, caption
        Of the panel.
    provenance
        What the data rest on, in a line.
    """
    body, size = data_table(table, title, most_rows=MOST_ROWS, rest="csv has all")
    csv = tag("button", icon("export"), "csv", data_do="export", data_figure=name, data_kind="csv", class_="link")
    return tag(
        "div",
        tag("header", tag("h3", title), tag("span", caption, class_="quiet"), tag("span", size, class_="quiet"), csv),
        tag("div", body, class_="rows", tabindex="0", role="region", aria_label=f"Data of {title}"),
        tag("p", provenance, class_="quiet"),
        class_="tabulated",
        popover="auto",
        data_menu=MENU,
        role="dialog",
        aria_label=f"Table: {title}, {caption}",
    )


def data_table(table: pd.DataFrame, label: str, *, most_rows: int, rest: str) -> tuple[Markup, str]:
    """Return the first rows of a figure's data as a table, and how many there are; ``rest`` says where all are."""
    table = table.drop(columns="token", errors="ignore")  # of colours
    shown = table.head(most_rows)
    classes = [None if _is_number(kind) else "t" for kind in table.dtypes]
    names = [str(column).replace("_", " ") for column in table.columns]
    columns = [_texts(shown.iloc[:, k]) for k in range(shown.shape[1])]
    rows = [tag("tr", _cells("td", values, classes)) for values in zip(*columns, strict=True)]
    size = plural(len(table), "row")
    if len(table) > most_rows:
        size = f"the first {thousands(most_rows)} of {thousands(len(table))} rows; {rest}"
    heads = tag("thead", tag("tr", _cells("th", names, classes, scope="col")))
    return tag("table", heads, tag("tbody", rows), aria_label=label), size


def _cells(kind: str, texts: Sequence[str], classes: Sequence[str | None], **attributes: str) -> list[Markup]:
    return [tag(kind, text, class_=class_, **attributes) for text, class_ in zip(texts, classes, strict=True)]


def _is_number(kind: Any) -> bool:
    return pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)


def _texts(column: pd.Series) -> list[str]:
    """Write a column: numbers with equal decimals, three digits of the largest, and none as 0 that is not."""
    values = column.to_list()
    if pd.api.types.is_bool_dtype(column.dtype):
        return ["yes" if value else "no" for value in values]
    if not _is_number(column.dtype):
        return list(map(str, values))
    known = np.abs([value for value in values if np.isfinite(value)])
    if all(value == int(value) for value in known):
        return [thousands(value).replace("-", MINUS) if np.isfinite(value) else UNKNOWN for value in values]
    decimals = max(2 - math.floor(math.log10(known.max())), 0)
    return [_written(value, decimals) for value in values]


def _written(value: float, decimals: int) -> str:
    """Write a number with so many decimals, or with two digits where they would make it 0."""
    is_lost = np.isfinite(value) and value != 0 and abs(value) < 0.5 * 10.0**-decimals
    return f"{value:.2g}".replace("-", MINUS) if is_lost else fixed(value, decimals)
