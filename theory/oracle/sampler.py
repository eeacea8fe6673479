"""Options of samplers, shared by the oracle and the torch samplers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..schedule.resolution import ResolutionSchedule
from ..schedule.reverse_step import check_eta
from ..support.errors import InputError

CHANGES = ("network", "free", "corrected")
"""What happens at a change of resolution: a network call of its own, or none."""


@dataclass(frozen=True)
class Sampler:
    """Options of a sampler.

    Parameters
    ----------
    eta : float
        From 0 (deterministic, DDIM) to 1 (ancestral).
    order : {1, 2}
        2: the deterministic second-order multistep solver for predictions of x0, DPM-Solver++(2M)
        (Lu et al. 2022), in the log-snr of the full resolution. The previous prediction is lifted
        across a change; of the two predictions at a change only the second is kept. A coefficient
        without a previous prediction takes a first-order step. ``eta`` must be 0.
    changes : {"network", "corrected", "free"}, optional
        What happens where the resolution changes, see the table below. By default "free" if the
        schedule attenuates its states, as the new band then has no signal to predict, else
        "network".
    spectral_variance : bool
        Add to each step's noise the conditional variance of the clean image given the state, as
        known from the spectrum (mathematics §6). New bands then get signal as well as noise, and
        the last step draws an image instead of ending on the mean. For Gaussian data steps of any
        length and any ``eta`` are exact.

    Raises
    ------
    InputError
        If an option is out of range, or two do not go together.

    Notes
    -----
    | changes | at a change of resolution |
    | --- | --- |
    | network | the network predicts the image at the new resolution; both sides are visited |
    | corrected | the same; then the next prediction corrects the new band by the trapezoidal rule |
    | free | the prediction before the change is lifted (``M⁺``); the new band gets noise alone |

    "corrected" uses the prediction after the change for the next step as well. "free" needs no
    additional call; at order 2 it keeps the prediction before the change as history.
    """

    eta: float = 0.0
    order: int = 1
    changes: str | None = None
    spectral_variance: bool = False

    def __post_init__(self) -> None:
        check_eta(self.eta)
        if self.order not in (1, 2):
            raise InputError(f"order {self.order}: must be 1 or 2")
        if self.order == 2 and (self.eta != 0 or self.spectral_variance):
            raise InputError(
                "order 2: is deterministic; give order: 1, or 2 with eta=0 and no spectral variance"
            )
        if self.changes is not None and self.changes not in CHANGES:
            raise InputError(f"changes {self.changes!r}: unknown; choose from {', '.join(CHANGES)}")
        if self.spectral_variance and self.changes == "corrected":
            raise InputError(
                "changes 'corrected': have no spectral variance; give 'network' or 'free'"
            )

    def on(self, schedule: ResolutionSchedule) -> Sampler:
        """Copy whose ``changes`` are chosen to fit a schedule.

        Raises
        ------
        InputError
            If the schedule attenuates its states and ``changes`` is not "free", or if it blurs and
            the order is 2 or changes are free.
        """
        changes = self.changes
        if changes is None:
            changes = "network" if schedule.attenuation is None else "free"
        elif changes != "free" and schedule.attenuation is not None:
            raise InputError(
                f"changes {changes!r}: the schedule's states are attenuated, so that changes need "
                "no network call; leave the option out"
            )
        if schedule.blurs and (self.order == 2 or changes == "free"):
            raise InputError("order 2 and free changes: need a schedule without blur")
        return replace(self, changes=changes)

    @property
    def free(self) -> bool:
        """Whether changes of resolution need no network call."""
        return self.changes == "free"


DDIM = Sampler()
ANCESTRAL = Sampler(eta=1.0)
SECOND_ORDER = Sampler(order=2)
