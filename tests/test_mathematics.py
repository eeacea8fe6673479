"""The page of formulas: every name on it exists, and every reference to it finds its section."""

import pkgutil
import re
from pathlib import Path

import pytest

from theory import symbolic

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "theory" / "mathematics.md").read_text()
NAMES = sorted(set(re.findall(r"`((?:theory|ssd_models)\.[\w.]+)`", PAGE)))


@pytest.mark.parametrize("name", [name for name in NAMES if name.count(".") > 1])
def test_the_name_exists(name):
    pkgutil.resolve_name(name)  # imports modules on the way, however deep


def test_every_derivation_is_listed():
    listed = {name.split(".")[-1] for name in NAMES if name.startswith("theory.symbolic.")}
    assert set(symbolic.DERIVATIONS) == listed


def test_references_find_their_section():
    sections = set(re.findall(r"^## (\d)\.", PAGE, re.MULTILINE))
    paths = [p for folder in ("theory", "ssd_models") for p in (ROOT / folder).rglob("*.py")]
    cited = {n for path in paths for n in re.findall(r"mathematics §(\d)", path.read_text())}
    assert cited
    assert cited <= sections
