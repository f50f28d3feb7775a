"""How are numbers written? Two digits for r, a true minus sign, thousands separated, "n/a" for what is not known."""

import math

MINUS = "−"
UNKNOWN = "n/a"


def fixed(value: float, digits: int = 2) -> str:
    """Write a number with so many decimals and a true minus sign; never "−0.00"."""
    if not math.isfinite(value):
        return UNKNOWN
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)


def signed(value: float, digits: int = 1) -> str:
    """Write a number with its sign, "+4.5" or "−0.3"."""
    text = fixed(value, digits)
    return text if text.startswith(MINUS) or text == UNKNOWN or float(text) == 0 else f"+{text}"


def tick(value: float) -> str:
    """Write the number at a tick with no more digits than it needs."""
    return f"{round(value, 10) + 0.0:g}".replace("-", MINUS)  # + 0.0: no negative zero


def degrees(value: float) -> str:
    """Write whole or tenth degrees of visual angle."""
    return f"{tick(round(value, 1))}°"


def thousands(count: float) -> str:
    """Write a count with thousands separators, "1,619,496"."""
    return f"{round(count):,}"


def short(count: float) -> str:
    """Write a large count shortly: "950", "12k", "1.6M"."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size * 0.9995:
            scaled = count / size
            return f"{scaled:.0f}{letter}" if scaled >= 9.95 else f"{scaled:.1f}{letter}".replace(".0", "")
    return f"{count:.0f}"


def plural(count: int, word: str) -> str:
    """Write "1 site", "55 sites"."""
    return f"{thousands(count)} {word}" + ("" if count == 1 else "s")


def known_of(known: int, count: int, word: str) -> str:
    """Write "7 sites", or "6 of 7 sites" where only 6 have a value."""
    return plural(count, word) if known == count else f"{thousands(known)} of {plural(count, word)}"


def elided(text: str, most: int) -> str:
    """Keep a long name readable at both ends: "features.3…squeeze"."""
    if len(text) <= most:
        return text
    tail = (most - 1) * 2 // 3
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"
