"""The page for ``panel serve dashboard/app.py``: read-only, on the store that ``UNITSCOPE_STORE`` names."""

import panel as pn

from dashboard.results import shared_results
from dashboard.thumbnails import serve_beside_page
from dashboard.views.document import query_of
from dashboard.views.session import Session


def show() -> None:
    """Build the page of one session into the current document."""
    document = pn.state.curdoc
    Session(shared_results(), query_of(document)).serve(document)


if pn.state.curdoc is not None and pn.state.curdoc.session_context is not None:
    serve_beside_page(shared_results())
    show()
