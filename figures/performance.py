"""Write results/performance.md, the tables of stored benchmarks.

    python figures/performance.py

Reads results/bench/*.json (copies of what `make bench` writes to runs/bench) and
results/posterior_speed.json.
"""

from __future__ import annotations

import json
from pathlib import Path

from style import FOLDER

from theory.support.tables import cell, cells, markdown_table

RESULTS = FOLDER.parent / "results"
REPORTS = [*sorted((RESULTS / "bench").glob("*.json")), RESULTS / "posterior_speed.json"]


def main() -> None:
    """Write the page."""
    parts = ["# Performance\n\nEach part was measured in one run, with jobs taking turns: "
             "compare within a table. `make bench` measures again."]  # fmt: skip
    (RESULTS / "performance.md").write_text(
        "\n\n".join([*parts, *map(section, REPORTS)]) + "\n", encoding="utf-8"
    )


def section(path: Path) -> str:
    """Markdown of one report: heading, tables under their JSON keys, single numbers."""
    report = json.loads(path.read_text(encoding="utf-8"))
    stored = path.parent.name == "bench"
    command = f"ssd bench {path.stem}" if stored else f"python results/{path.stem}.py"
    parts = [f"## `{command}`", " ".join(report["heading"].split())]
    single = []
    for key, found in report["results"].items():
        name = key.replace("_", " ")
        if isinstance(found, list):
            parts.append(f"**{name}**\n\n" + markdown_table(cells(found)))
        else:
            single.append(f"{name} {cell(found)}")
    return "\n\n".join([*parts, *(["; ".join(single) + "."] if single else [])])


if __name__ == "__main__":
    main()
