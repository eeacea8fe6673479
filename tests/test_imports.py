"""Imports point one way, and stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("path", sorted((ROOT / "theory").glob("*.py")), ids=lambda p: p.name)
def test_theory_imports_neither_torch_nor_models(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        assert not [n for n in names if n.split(".")[0] in ("torch", "ssd_models", "accelerate")]


def test_public_names_exist_and_theory_runs_without_torch():
    code = (
        "import theory, sys\nfor name in theory.__all__: getattr(theory, name)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import ssd_models\nfor name in ssd_models.__all__: getattr(ssd_models, name)"
    subprocess.run([sys.executable, "-c", code], check=True)
