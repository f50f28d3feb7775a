"""The page for ``panel serve dashboard/app.py``: read-only, on the store that ``UNITSCOPE_STORE`` names.

``panel serve`` listens to every machine unless it is told otherwise and asks nobody for a token, so the page computes
nothing, tells no paths, and says why.
"""

import panel as pn
from bokeh.document import Document

from dashboard.results import shared_results
from dashboard.thumbnails import serve_beside_page
from dashboard.views.document import query_of
from dashboard.views.session import Session

WHY = (
    "This page is read-only: panel serve cannot say who listens, so no visitor has this machine compute. "
    "unitscope serve asks for a token and computes."
)


def show(document: Document) -> None:
    """Build the page of one session into its document."""
    Session(shared_results(), query_of(document), why_read_only=WHY, in_turn=True).serve(document)


if pn.state.curdoc is not None and pn.state.curdoc.session_context is not None:
    serve_beside_page(shared_results())
    show(pn.state.curdoc)
