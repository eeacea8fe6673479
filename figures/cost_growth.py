"""Cost of a chain against resolution and number of levels.

    python figures/cost_growth.py

FLOP are computed for networks of the paper's widths and a power-law spectrum close to photographs.
Times of the small network are read from `results/bench/growth.json` (``make bench``); they fall
less than FLOP where small images leave the machine idle.
"""

from __future__ import annotations

import json

from style import COLOURS, DERIVED, FOLDER, FULL, PAGE, PAPER, new_figure, save, save_table

from ssd_models.bench import GrowthSetting, measure_growth

MEASURED = FOLDER.parent / "results" / "bench" / "growth.json"


def main() -> None:
    """Compute FLOP, read times and draw the figure."""
    rows = measure_growth(GrowthSetting()).tables[0].rows
    timed = json.loads(MEASURED.read_text(encoding="utf-8"))["results"]["timed"]
    figure = new_figure(PAGE, 2.8)
    left, right = figure.subplots(1, 2)
    most = {row["resolution"]: row for row in rows}  # the last of each has the most levels
    one = {row["resolution"]: row["paper_gflop"] for row in rows if row["levels"] == 1}
    sizes = sorted(most)
    for label, values, colour, mark in (
        ("one level", [one[size] for size in sizes], FULL, "s-"),
        ("paper's schedule", [most[size]["paper_gflop"] for size in sizes], PAPER, "o-"),
        ("derived, snr ≤ 0.1", [most[size]["derived_gflop"] for size in sizes], DERIVED, "o-"),
    ):
        left.loglog(sizes, values, mark, color=colour, ms=4, label=label)
    left.set_xscale("log", base=2)
    left.set(xticks=sizes, xticklabels=sizes, xlabel="resolution, pixels")
    left.set(title="mean call, most levels", ylabel="GFLOP an image")
    left.legend()
    for size, colour in zip(sizes, COLOURS, strict=False):
        own = [row for row in rows if row["resolution"] == size]
        levels = [row["levels"] for row in own]
        label = f"{size} px"
        right.plot(
            levels, [row["derived_saving"] for row in own], "o-", color=colour, ms=3, label=label
        )
        right.plot(levels, [row["paper_saving"] for row in own], ":", color=colour)
        own = [row for row in timed if row["resolution"] == size]
        levels, savings = [row["levels"] for row in own], [row["derived_saving"] for row in own]
        right.plot(levels, savings, "x--", color=colour, ms=4)
    right.plot([], [], "x--", color="black", ms=4, label="time")
    right.plot([], [], ":", color="black", label="paper's")
    right.set(title="derived schedules over one level", xlabel="levels", ylabel="times cheaper")
    right.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, "cost_growth")
    header = list(rows[0])
    table = [["FLOP", *(row[name] for name in header)] for row in rows]
    times = ("paper_milliseconds", "paper_saving", "derived_milliseconds", "derived_saving")
    table += [
        ["milliseconds", row["resolution"], row["levels"], "", "", *(row[name] for name in times)]
        for row in timed
    ]
    save_table("cost_growth", ["measure", *(name.removesuffix("_gflop") for name in header)], table)


if __name__ == "__main__":
    main()
