"""The file format of schedules, ``schedule.json``: what it holds, and how it is checked.

Only the types of the entries are checked here; what their values must satisfy is checked by
`theory.schedule.resolution.ResolutionSchedule`, which both functions serve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..support.errors import InputError
from ..support.reading import check_fields
from .attenuation import Attenuation

if TYPE_CHECKING:
    from .resolution import ResolutionSchedule

FORMAT = "scale-space-schedule/1"
_FIELDS = {
    "resolution": float,
    "levels": list[float],
    "operator": str,
    "noise": str,
    "resolutions": list[float],
    "alpha": list[float],
    "sigma": list[float],
    "derivation": dict,
    "predicted": dict,
    "blur": list[float],
}
_OPTIONAL = ("derivation", "predicted", "blur")
_PLAN = {"steps": list[int], "changes": str}


def schedule_to_json(schedule: ResolutionSchedule) -> dict[str, Any]:
    """Content of ``schedule.json``.

    The entries ``attenuation`` and ``blur`` are only there if the schedule attenuates or blurs.
    """
    content = {
        "format": FORMAT,
        "resolution": schedule.resolution,
        "levels": list(schedule.levels),
        "operator": schedule.operator,
        "noise": schedule.noise_mode,
        "derivation": dict(schedule.derivation),
        "predicted": dict(schedule.predicted),
        "resolutions": schedule.resolutions.tolist(),
        "alpha": schedule.alpha.tolist(),
        "sigma": schedule.sigma.tolist(),
    }
    if schedule.attenuation is not None:
        content["attenuation"] = schedule.attenuation.to_json()
    return content | ({"blur": schedule.blur.tolist()} if schedule.blurs else {})


def arguments_from_json(content: Any) -> dict[str, Any]:
    """Arguments of `ResolutionSchedule` from the content of ``schedule.json``.

    Raises
    ------
    InputError
        If the content is not a schedule, has another format, lacks an entry, or an entry has
        another type. The entry is named.
    """
    if not isinstance(content, dict):
        raise InputError("is not a schedule; write one with `ssd derive`")
    if content.get("format") != FORMAT:
        raise InputError(f"has format {content.get('format')!r}, expected {FORMAT!r}")
    check_fields(content, _FIELDS, optional=_OPTIONAL)
    if not content["levels"] or content["levels"][0] != content["resolution"]:
        raise InputError(
            f"levels: must begin with the resolution, {content['resolution']}, "
            f"not {content['levels'][:1]}"
        )
    derivation = content.get("derivation", {})
    if derivation.get("source") is not None:
        check_fields(derivation, {"source": str}, "derivation")
    if derivation.get("plan") is not None:  # written by `theory.plan_sampling`
        check_fields(derivation["plan"], _PLAN, "derivation: plan", optional=_PLAN)
    attenuation = content.get("attenuation")
    return {
        "resolutions": np.array(content["resolutions"]),
        "alpha": np.array(content["alpha"], np.float64),
        "sigma": np.array(content["sigma"], np.float64),
        "operator": content["operator"],
        "noise_mode": content["noise"],
        "levels": tuple(content["levels"]),
        "derivation": derivation,
        "predicted": content.get("predicted", {}),
        "blur": np.array(content.get("blur", []), np.float64),
        "attenuation": None if attenuation is None else Attenuation.from_json(attenuation),
    }
