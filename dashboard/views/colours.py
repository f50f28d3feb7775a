"""Which colour has a network or a region? The same on every page."""

from collections.abc import Mapping

from dashboard.results import Chosen, Results
from dashboard.theme import CONTROL, NETWORK_TOKENS, network_token, region_token


def colours(chosen: Chosen, results: Results) -> dict[str, str]:
    """Return the colour tokens of the chosen region and network."""
    return {
        "region": region_token(chosen.region, chosen.run.regions),
        "network": network_of(chosen, results),
    }


def network_of(chosen: Chosen, results: Results) -> str:
    """Return the colour token of the chosen network: its place among the trained ones of the recording."""
    return tokens_of(chosen, results)[chosen.run.digest]


def tokens_of(chosen: Chosen, results: Results) -> dict[str, str]:
    """Return the colour tokens of all networks of the recording, by the digest of the run.

    Where there are more than colours, the chosen one has the first, one beside it the second, and all others are grey.
    """
    runs = results.runs(chosen.run.recording)
    coloured = [run.digest for run in runs if not run.is_control]
    if len(coloured) > len(NETWORK_TOKENS):
        shown = [chosen.run, *([chosen.beside.run] if chosen.beside is not None else [])]
        coloured = [digest for digest in dict.fromkeys(run.digest for run in shown) if digest in coloured]
    tokens = {digest: network_token(place) for place, digest in enumerate(coloured)}
    return {run.digest: tokens.get(run.digest, CONTROL) for run in runs}


def style_of(tokens: Mapping[str, str]) -> str:
    """Return the style that gives ``--region`` and ``--network`` their colours."""
    return ";".join(f"--{what}:var(--us-{token})" for what, token in tokens.items())
