"""What a schedule is predicted to cost and to err, as its file records it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..information.divergence import change_divergence
from ..schedule.costs import chain_costs
from ..schedule.resolution import ResolutionSchedule
from ..spectrum.spectrum import Spectrum
from .dense import LARGEST
from .report import oracle_report


def with_predictions(schedule: ResolutionSchedule, spectrum: Spectrum) -> ResolutionSchedule:
    """Copy of a schedule whose ``predicted`` says what its chain costs and how much it errs.

    The chain is the ancestral one of all steps.

    Parameters
    ----------
    schedule : ResolutionSchedule
    spectrum : Spectrum
        Of the data, at the schedule's full resolution.

    Returns
    -------
    ResolutionSchedule

    Notes
    -----
    | entry | value |
    | --- | --- |
    | chain_cost_ratio | mean cost of a call, in full-resolution calls |
    | cost_model | what was counted, see `theory.schedule.costs.chain_costs` |
    | oracle_error | relative W2²; left out where `has_exact_error` is false |
    | oracle_error_full_resolution | the same at full resolution; left out if the noise is steady |
    | change_divergence_nats | sums over all changes, for Gaussian data and at most for any |

    Divergences (`theory.information.divergence`) are left out without changes, or where the
    operator mixes DCT coefficients.

    Raises
    ------
    InputError
        If the resolutions differ or the spectrum has no power.
    """
    model, table = chain_costs(schedule.levels)
    predicted = {
        name: value for name, value in schedule.predicted.items() if name != "oracle_error"
    }
    predicted |= {"chain_cost_ratio": schedule.chain_cost(table), "cost_model": model}
    if has_exact_error(schedule):
        predicted["oracle_error"] = oracle_report(schedule, spectrum).relative_w2
    if schedule.changes and not schedule.mixes_frequencies:
        costs = change_divergence(schedule, spectrum)
        sums = [sum(cost.gaussian for cost in costs), sum(cost.bound for cost in costs)]
        predicted["change_divergence_nats"] = sums
    if (np.diff(schedule.base_snr) < 0).all():
        full = ResolutionSchedule.full_resolution(
            schedule.resolution, schedule.base_noise, schedule.operator
        )
        predicted["oracle_error_full_resolution"] = oracle_report(full, spectrum).relative_w2
    return replace(schedule, predicted=predicted)


def has_exact_error(schedule: ResolutionSchedule) -> bool:
    """Whether `oracle_report` can evaluate a schedule, given its operator and size."""
    return not schedule.mixes_frequencies or schedule.resolution <= LARGEST
