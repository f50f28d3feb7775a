"""What does a figure show, in numbers? Its data as a table, for who cannot see a canvas or wants the values."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from dashboard.figures.wording import MINUS, UNKNOWN, fixed, plural, thousands
from dashboard.views.markup import Markup, icon, tag

MENU = "table"
MOST_ROWS = 1000
"""Rows that the browser gets; the csv has all."""


def tabulated(table: pd.DataFrame, name: str, title: str, caption: str) -> Markup:
    """Return the dialog that holds the data of a panel.

    Parameters
    ----------
    table
        Data of the panel: those of its csv.
    name
        Of the panel, for its csv.
    title, caption
        Of the panel.
    """
    shown = table.head(MOST_ROWS)
    classes = [None if _is_number(kind) else "t" for kind in table.dtypes]
    names = [str(column).replace("_", " ") for column in table.columns]
    columns = [_texts(shown.iloc[:, k]) for k in range(shown.shape[1])]
    rows = [tag("tr", _cells("td", values, classes)) for values in zip(*columns, strict=True)]
    size = plural(len(table), "row")
    if len(table) > MOST_ROWS:
        size = f"the first {thousands(MOST_ROWS)} of {thousands(len(table))} rows; csv has all"
    csv = tag("button", icon("export"), "csv", data_do="export", data_figure=name, data_kind="csv", class_="link")
    heads = tag("thead", tag("tr", _cells("th", names, classes, scope="col")))
    body = tag("table", heads, tag("tbody", rows), aria_label=title)
    return tag(
        "div",
        tag("header", tag("h3", title), tag("span", caption, class_="quiet"), tag("span", size, class_="quiet"), csv),
        tag("div", body, class_="rows", tabindex="0", role="region", aria_label=f"Data of {title}"),
        class_="tabulated",
        popover="auto",
        data_menu=MENU,
        role="dialog",
        aria_label=f"Table: {title}",
    )


def _cells(kind: str, texts: Sequence[str], classes: Sequence[str | None], **attributes: str) -> list[Markup]:
    return [tag(kind, text, class_=class_, **attributes) for text, class_ in zip(texts, classes, strict=True)]


def _is_number(kind: Any) -> bool:
    return pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)


def _texts(column: pd.Series) -> list[str]:
    """Write the values of a column: numbers with equal decimals, three digits of the largest."""
    values = column.to_list()
    if pd.api.types.is_bool_dtype(column.dtype):
        return ["yes" if value else "no" for value in values]
    if not _is_number(column.dtype):
        return list(map(str, values))
    known = np.abs([value for value in values if np.isfinite(value)])
    if all(value == int(value) for value in known):
        return [thousands(value).replace("-", MINUS) if np.isfinite(value) else UNKNOWN for value in values]
    decimals = max(2 - math.floor(math.log10(known.max())), 0)
    return [fixed(value, decimals) for value in values]
