"""Access to a stored ``results.json`` of a comparison, for pages, tables and figures."""

from __future__ import annotations

from typing import Any

Results = dict[str, Any]
"""Content of ``results.json``."""


def milestone(stage: dict[str, Any]) -> int:
    """Milestone of a stage; its own steps in files without milestones."""
    return stage.get("milestone", stage["step"])


def label(results: Results, stage: dict[str, Any]) -> str:
    """Label of a stage's arm, with the seed if there are several."""
    several = len({other["seed"] for other in results["stages"]}) > 1
    name = str(results["arms"][stage["arm"]]["label"])
    return f"{name}, seed {stage['seed']}" if several else name


def spread(estimate: dict[str, Any], digits: int, key: str | None = None) -> str:
    """Text ``1.0 ± 0.2`` of an estimate and half its 95 % interval; a dash if not finite.

    With ``key`` of that entry of an estimate of several numbers.
    """
    value, error = estimate["value"], estimate["standard_error"]
    if key is not None:
        value, error = value[key], error[key]
    if value is None or error is None:
        return "–"
    return f"{value:.{digits}f} ± {1.96 * error:.{digits}f}"
