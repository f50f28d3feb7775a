from dashboard.figures.keys import Key, keys_html


def test_labels_of_keys_are_escaped_and_colours_are_variables():
    html = keys_html([Key("dot", "<b>V4</b> & more"), Key("ring", "selected", "ink")], {"region": "IT"})
    assert "&lt;b&gt;V4&lt;/b&gt; &amp; more" in html
    assert "var(--us-IT)" in html
    assert "var(--us-ink)" in html


def test_every_shape_of_a_figure_can_be_drawn():
    shapes = ("dot", "open", "ring", "line", "dash", "box", "tick", "interval", "bar")
    assert keys_html([Key(shape, shape) for shape in shapes], {}).count("<svg") == len(shapes)
