"""The arrows: engine knows nothing of dashboard, a step imports only steps before it, the page loads no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

DIRECTION = [
    ["errors"],
    ["schema"],
    [
        "encoding",
        "durable",
        "alignment",
        "identifiers",
        "manifests",
        "pictures",
        "responses",
        "descriptions",
        "preprocessing",
    ],
    ["stimuli", "parts", "cowley_v4", "majajhong2015", "allocation", "tracing", "valueless", "weights"],
    ["recording_files", "runs", "layers", "formats"],
    ["recordings", "catalogue"],
    ["known_recordings"],
    ["fetching_assemblies"],
    ["store", "fetching", "scenery", "zoo", "foreign"],
    ["from_torchvision", "from_timm"],
    ["scenes", "networks", "folds"],
    ["activations", "targets", "digests", "exact"],
    ["moments", "planning"],
    ["kernels"],
    ["blocks"],
    ["resuming"],
    ["groups", "stops"],
    ["ranking"],
    ["summaries"],
    ["tiling", "pooling"],
    ["matching", "footprints"],
    ["rescoring", "costs"],
    ["passes", "fields", "starts", "backprojection", "crops", "sharing", "gradients"],
    ["holding", "reselection", "correlating"],
    ["merging"],
    ["sources"],
    ["analyses"],
    ["checks", "data_checks", "interchange"],
    ["bases", "rotations"],
    ["pipeline"],
    ["workers"],
    ["cluster"],
    ["dispatch"],
    ["simulation"],
    ["world"],
    ["bench"],
    ["identities", "store_trial"],
    ["self_check"],
    ["jobs"],
    ["commands"],
    ["cli"],
]
"""Modules and packages of engine, from what stands alone to what uses the rest."""

TORCH_FREE = [
    "engine",
    "engine.store",
    "engine.recordings",
    "engine.known_recordings",
    "engine.sources",
    "engine.analyses",
    "engine.checks",
    "engine.cli",
    "engine.jobs",
    "dashboard.app",
    "dashboard.jobs",
    "dashboard.commands",
    "dashboard.export",
    "dashboard.figure_files",
]


def modules(package: str) -> dict[str, Path]:
    paths = sorted((ROOT / package).rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imported(path: Path, *, lazily: bool) -> set[str]:
    """Modules that a file imports: at its top only, or anywhere with ``lazily``; not those for type checkers."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if lazily else (n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
    return found


@pytest.mark.parametrize("name", modules("engine"))
def test_engine_knows_nothing_of_dashboard(name):
    assert not {m for m in imported(modules("engine")[name], lazily=True) if m.split(".")[0] == "dashboard"}


def test_every_step_imports_only_steps_before_it():
    level = {name: height for height, names in enumerate(DIRECTION) for name in names}
    top_level = {name.split(".")[1] for name in modules("engine") if "." in name}
    assert top_level == set(level), "name new modules in DIRECTION, where they belong"
    wrong = []
    for name, path in modules("engine").items():
        if "." not in name:
            continue
        mine = name.split(".")[1]
        for other in imported(path, lazily=False):
            theirs = other.split(".")[1] if other.startswith("engine.") and other.count(".") else None
            if theirs in level and theirs != mine and level[theirs] > level[mine]:
                wrong.append(f"{name} imports {other}")
    assert wrong == []


def test_figures_know_nothing_of_views_and_nothing_below_the_app_knows_it():
    for name, path in modules("dashboard").items():
        others = {m for m in imported(path, lazily=False) if m.startswith("dashboard.")}
        if name.startswith("dashboard.figures"):
            assert not {m for m in others if m.startswith(("dashboard.views", "dashboard.app", "dashboard.state"))}, (
                name
            )
        if name != "dashboard.app" and not name.startswith(("dashboard.server", "dashboard.commands")):
            assert not {m for m in others if m.startswith(("dashboard.app", "dashboard.server"))}, name


def test_nothing_is_called_utils():
    assert not {
        n for n in [*modules("engine"), *modules("dashboard")] if {"utils", "helpers", "common"} & set(n.split("."))
    }


def test_reading_results_never_imports_torch():
    """One process imports one after the other, and says which of them loaded it."""
    told = f"""import sys, importlib
for name in {TORCH_FREE!r}:
    importlib.import_module(name)
    if 'torch' in sys.modules:
        sys.exit(name)"""
    command = [sys.executable, "-W", "ignore", "-c", told]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr


def test_every_package_is_shipped():
    shipped = set(__import__("tomllib").loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    assert shipped == {
        ".".join(p.parent.relative_to(ROOT).parts)
        for name in ("engine", "dashboard")
        for p in (ROOT / name).rglob("__init__.py")
    }


def test_the_readme_names_the_public_surface():
    import engine

    readme = (ROOT / "README.md").read_text()
    listed = readme.split("<!-- public names: ")[1].split(" -->")[0].split(", ")
    assert listed == engine.__all__
    for name in engine.__all__:
        assert getattr(engine, name) is not None
