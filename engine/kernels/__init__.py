"""Compiled loops over tiles of units, for a processor: sums, products, correlations, ranks.

They run without the interpreter's lock, so that threads share the tiles. A tile is small enough to stay in a core's
cache between the steps; sums run in float64 and only the product of units and columns, which a BLAS does, is float32.
"""

from pathlib import Path


def _forget_stale(folder: Path) -> None:
    """Remove compiled code that is older than any source: numba looks only at the file of the function it keeps."""
    newest = max(source.stat().st_mtime for source in folder.glob("*.py"))
    for index in folder.glob("__pycache__/*.nbi"):
        if index.stat().st_mtime < newest:
            index.unlink(missing_ok=True)


_forget_stale(Path(__file__).parent)
