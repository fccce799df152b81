"""The house keeps itself: imports point downwards, and torch stays out of recognition."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "mien"
LAYERS = [  # a file imports only from rows above its own, or from its own folder
    {"types", "errors", "formats", "defaults"},
    {"files", "images", "parallel", "draw", "sidecar", "boxes", "machine", "web_page"},
    {"recognition", "video"},
    {"facebank"},
    {"collection"},
    {"verbs", "evaluation"},
    {"training"},
    {"serve"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MAY_IMPORT_TORCH = {"training"}
FILES = [path for path in sorted(ROOT.rglob("*.py")) if not path.stem.startswith("__main")]


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path, *, typing: bool = True) -> Iterator[tuple[int, str]]:
    """Line and full name of every module or name that a file imports; those for types alone too."""
    tree = ast.parse(path.read_text("utf-8"))
    if not typing:
        tree.body = [
            one for one in tree.body if not ast.unparse(one).startswith("if TYPE_CHECKING")
        ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is relative"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize("path", [p for p in FILES if part(p) != "__init__"], ids=part)
def test_imports_point_down(path: Path) -> None:
    here = part(path)
    for line, name in imports(path):
        package, _, rest = name.partition(".")
        there = rest.partition(".")[0]
        if package == "mien" and there not in (here, "__version__"):
            below = LEVEL[there] < LEVEL[here] or {here, there} <= LAYERS[1]
            assert below, f"{path}:{line}: {here} imports {there}"


@pytest.mark.parametrize("path", [*ROOT.glob("verbs/*.py")], ids=lambda path: path.stem)
def test_verbs_do_not_know_each_other(path: Path) -> None:
    assert not [name for _, name in imports(path) if name.startswith("mien.verbs")]


def test_no_files_import_each_other() -> None:
    path_of = {name(path): path for path in FILES if part(path) != "__init__"}
    needs = {one: needed(path) & path_of.keys() - {one} for one, path in path_of.items()}
    while ends := {one for one, others in needs.items() if not others}:
        needs = {one: others - ends for one, others in needs.items() if one not in ends}
    assert not needs


def name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


def needed(path: Path) -> set[str]:
    """The modules that a file imports when it runs, and those from which it imports a name."""
    full = {one for _, one in imports(path, typing=False)}
    return full | {one.rpartition(".")[0] for one in full if not is_module(one)}


def is_module(full: str) -> bool:
    path = ROOT.parent.joinpath(*full.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


@pytest.mark.parametrize("path", FILES, ids=part)
def test_torch_is_for_training(path: Path) -> None:
    if part(path) not in MAY_IMPORT_TORCH:
        wanted = [name for _, name in imports(path) if name.split(".")[0] in ("torch", "onnx")]
        assert not wanted


def loaded(code: str) -> set[str]:
    """The packages that are loaded after some code has run."""
    code += "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(out.stdout.split())


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import mien", {"numpy", "cv2", "PIL", "onnxruntime", "typer"}),
        ("import mien.cli", {"numpy", "cv2", "PIL", "onnxruntime", "av"}),
        ("import mien.training.prepare", {"torch", "onnx", "matplotlib"}),
        ("import mien.facebank.facebank", {"cv2", "PIL", "onnxruntime"}),
        ("import mien.verbs.identify", {"onnxruntime", "torch", "matplotlib", "typer", "av"}),
        (
            "import mien.evaluation.evaluate, mien.evaluation.report",
            {"torch", "matplotlib", "jinja2", "onnxruntime"},
        ),
    ],
)
def test_heavy_packages_wait_until_they_are_used(code: str, absent: set[str]) -> None:
    assert not loaded(code) & absent


def test_the_core_imports_where_there_is_no_posix() -> None:
    posix = ["fcntl", "grp", "pwd", "resource", "termios"]
    core = [name(path) for path in FILES if part(path) not in ("training", "serve")]
    loaded(f"import sys; sys.modules.update(dict.fromkeys({posix})); import {', '.join(core)}")
