"""Imports point one way, and stay light."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("theory", "ssd_models")
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imported(name, everywhere=False):
    """Modules of the two packages that a module imports: as it loads, or ``everywhere``."""
    path = FILES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()

    def visit(nodes):
        for node in nodes:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                continue
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not everywhere:
                continue
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*(parts if node.level else []), *filter(None, [node.module])])
                for alias in node.names:
                    full = f"{base}.{alias.name}"
                    found.add(full if full in FILES else base)
            visit(ast.iter_child_nodes(node))

    visit(ast.parse(path.read_text()).body)
    return {other for other in found if other in FILES and other != name}


def room(name):
    """The folder of a module."""
    return ".".join(FILES[name].relative_to(ROOT).parent.parts)


@pytest.mark.parametrize("path", sorted((ROOT / "theory").rglob("*.py")), ids=lambda p: p.name)
def test_theory_imports_neither_torch_nor_models(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        assert not [n for n in names if n.split(".")[0] in ("torch", "ssd_models", "accelerate")]


def test_modules_import_each_other_in_no_circle():
    order = list(TopologicalSorter({name: imported(name) for name in FILES}).static_order())
    assert order.index("theory.spectrum.spectrum") < order.index("ssd_models.diffusion.process")


def test_rooms_depend_on_each_other_in_no_circle():
    """Whatever a function imports when it runs counts as well."""
    rooms = {}
    for name in FILES:
        others = {room(other) for other in imported(name, everywhere=True)} - {room(name)}
        rooms.setdefault(room(name), set()).update(others)
    order = list(TopologicalSorter(rooms).static_order())
    assert order.index("theory.schedule") < order.index("ssd_models.diffusion")
    assert order[-1] == "ssd_models.cli"


def test_public_names_exist_and_theory_runs_without_torch():
    code = (
        "import theory, sys\nfor name in theory.__all__: getattr(theory, name)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import ssd_models\nfor name in ssd_models.__all__: getattr(ssd_models, name)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_modules_load_without_what_only_unix_has():
    """Windows has neither module."""
    code = (
        "import importlib, sys\n"
        "import psutil  # which has another part for each system\n"
        "sys.modules.update(fcntl=None, resource=None)\n"
        "for name in sys.argv[1:]: importlib.import_module(name)"
    )
    names = [name for name in FILES if not name.endswith("__main__")]
    subprocess.run([sys.executable, "-c", code, *names], check=True)


@pytest.mark.parametrize("name", FILES)
def test_text_files_are_utf8_on_every_system(name):
    """Windows would take an encoding of its own."""
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        given = {keyword.arg for keyword in node.keywords}
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("read_text", "write_text"):
            assert "encoding" in given, f"line {node.lineno}"
        if isinstance(node.func, ast.Name) and node.func.id == "open":
            binary = len(node.args) > 1 and "b" in ast.unparse(node.args[1]).split()[0]
            assert binary or "encoding" in given, f"line {node.lineno}"
