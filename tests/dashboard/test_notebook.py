"""A figure in a notebook, without one: what would be rendered."""

import io

import pytest
from bokeh.resources import INLINE

from dashboard.notebook import show
from engine.errors import NotAvailableError, SettingsError
from tests.dashboard.stores import put


@pytest.fixture(scope="module")
def run(tmp_path_factory, run_datasets):
    return put(tmp_path_factory.mktemp("store"), run_datasets)


def test_one_line_gives_a_figure_that_renders_itself(run, run_datasets):
    shown = show(run, "every_site", region="V4")
    assert "Every site, and how far it could go" in shown[0].object
    assert "SIMULATED" in shown[0].object
    best = run_datasets["matches"]["correlation"].isel(rank=0).values[:7]
    sources = [renderer.data_source.data for renderer in shown[1].object.renderers]
    assert any("y" in data and sorted(data["y"]) == sorted(best) for data in sources)
    rendered = io.StringIO()
    shown.save(rendered, resources=INLINE)
    assert "ColumnDataSource" in rendered.getvalue()


def test_it_asks_for_no_picture(run):
    shown = show(str(run.path), "responses", site="site02", mode="dark")
    assert all("<img" not in str(tool.tooltips) for tool in shown[1].object.tools if hasattr(tool, "tooltips"))


def test_what_is_missing_is_said(run):
    with pytest.raises(SettingsError, match="there is no figure 'every'"):
        show(run, "every")
    with pytest.raises(NotAvailableError, match="Compute it first: unitscope analyse"):
        show(run, "rotation")
