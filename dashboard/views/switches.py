"""Which of a few things is shown? A row of buttons, one of them pressed."""

from collections.abc import Mapping

from dashboard.views.markup import Markup, tag


def switch(
    label: str, options: Mapping[str, Markup | str], shown: str, *, selects: str = "view", why_not: str = ""
) -> Markup:
    """Return the switch of one part of the selection.

    Parameters
    ----------
    label
        What is chosen here, for who cannot see it.
    options
        Text by the value that choosing it gives to ``selects``.
    shown
        The value that is chosen.
    selects
        Name in the selection.
    why_not
        Why only the first option is there.
    """
    buttons = [
        tag(
            "button",
            text,
            **{"data_do": "select", f"data_{selects}": value},
            title=why_not if why_not and place > 0 else None,
            aria_disabled="true" if why_not and place > 0 else None,
            aria_pressed=str(value == shown).lower(),
        )
        for place, (value, text) in enumerate(options.items())
    ]
    return tag("span", buttons, class_="switch", role="group", aria_label=label)
