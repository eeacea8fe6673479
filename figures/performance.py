"""Tables of performance from the stored results of `ssd bench`, as Markdown.

    python figures/performance.py

Reads results/bench/*.json, as `make bench` writes them into runs/bench, and writes
results/performance.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from style import FOLDER, markdown_table

RESULTS = FOLDER.parent / "results"


def main() -> None:
    """Render all of them, if there are any."""
    if not _reports():
        return
    parts = ["# Performance\n\nEach part was measured in one run, with jobs taking turns: "
             "compare within a table. `make bench` measures again."]  # fmt: skip
    parts += [section(json.loads(path.read_text(encoding="utf-8"))) for path in _reports()]
    (RESULTS / "performance.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def section(report: dict[str, Any]) -> str:
    """One report: its heading, every table with the keys of the JSON as titles, single numbers."""
    parts = [f"## `ssd bench {report['benchmark']}`", " ".join(report["heading"].split())]
    single = {}
    for name, found in report["results"].items():
        if isinstance(found, list):
            titles = list(dict.fromkeys(key for row in found for key in row))
            rows = [[_shown(row.get(title)) for title in titles] for row in found]
            heads = [title.replace("_", " ") for title in titles]
            parts.append(f"**{name.replace('_', ' ')}**\n\n" + markdown_table([heads, *rows]))
        else:
            single[name] = found
    if single:
        parts.append(
            "; ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in single.items())
            + "."
        )
    return "\n\n".join(parts)


def _reports() -> list[Path]:
    return sorted((RESULTS / "bench").glob("*.json"))


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


if __name__ == "__main__":
    main()
