"""What does every answer tell the browser to refuse? And how does a refusal look?"""

from collections.abc import Mapping, Sequence
from typing import Final

from dashboard.views.markup import Markup, tag

ALWAYS: Final = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), usb=()",
    "Server": "unitscope",
}
PLAIN_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""Of all that is not the page: it runs and loads nothing."""

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:38em;margin:12vh auto;padding:0 1.5em;color:#1c2024;
background:#f7f8f9}h1{font-size:1.3em}input{font:inherit;padding:.4em;width:22em;max-width:100%}button{font:inherit;
padding:.4em 1em}code{background:#e8eaed;padding:.1em .3em}@media(prefers-color-scheme:dark){body{color:#e6e8ea;
background:#111417}code{background:#2a2f35}}"""


def page_policy(nonce: str, websockets: Sequence[str]) -> str:
    """Return the policy of the page: scripts of the server and those that carry the nonce; no other address at all.

    Bokeh's callbacks in the browser are made by ``new Function``, so evaluation is allowed; Panel fetches its
    components as blobs; figures carry their style on every element. ``'self'`` does not cover a websocket in every
    browser. For scripts Chromium needs neither ``'self'`` nor ``blob:``, as what a script imports has its nonce there;
    other browsers may.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'nonce-{nonce}' 'unsafe-eval' blob:",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "font-src data:",
            f"connect-src 'self' blob: {' '.join(websockets)}",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "object-src 'none'",
        )
    )


def plain_page(title: str, *told: object, reload: bool = False) -> str:
    """Return a short page that says one thing; with ``reload`` the browser asks once more by itself."""
    again = tag("meta", http_equiv="refresh", content="0") if reload else None
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name_="viewport", content="width=device-width"),
        again,
        tag("title", f"{title} · unitscope"),
        tag("style", Markup(_STYLE)),
    ]
    body = tag("body", tag("main", tag("h1", title), *told))
    return f"<!DOCTYPE html>{tag('html', tag('head', *head), body, lang='en')}"


def token_form(kept: Mapping[str, str]) -> Markup:
    """Return the form that takes the token, and keeps the other arguments of the address."""
    hidden = [tag("input", type="hidden", name_=name, value=value) for name, value in kept.items()]
    field = tag("input", name_="token", type="password", autocomplete="off", autofocus=True, required=True, id="token")
    label = tag("label", "Token", for_="token")
    return tag("form", tag("p", label), tag("p", field, " ", tag("button", "Enter")), hidden, method="get")
