"""How a chain is sampled: one set of options, for the oracle and for networks alike."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..schedule.resolution import ResolutionSchedule
from ..schedule.reverse_step import check_eta
from ..support.errors import InputError

CHANGES = ("network", "free", "corrected")
"""What happens at a change of resolution: a network call of its own, or none."""


@dataclass(frozen=True)
class Sampler:
    """Options of a sampler, checked once.

    Parameters
    ----------
    eta : float
        From 0 (deterministic, DDIM) to 1 (ancestral).
    order : {1, 2}
        2: the deterministic second-order multistep solver for predictions of x0, DPM-Solver++(2M)
        (Lu et al. 2022), in the log-snr of the full resolution. The previous prediction is lifted
        across a change, whose two sides count as one place: the prediction at its first side is not
        kept. A coefficient without a previous prediction takes a first-order step. ``eta`` must
        be 0.
    changes : {"network", "corrected", "free"}, optional
        What happens where the resolution changes.

        =========  =============================================================================
        network    a call of its own predicts across the change, at the new resolution; both
                   sides of the change must be visited
        corrected  the same; then the prediction at the arrival corrects the new band, as the
                   trapezoidal rule does, and serves for the next step as well
        free       the prediction at the state's own resolution is lifted (``M⁺``), so that the
                   new band holds noise alone; no call and no side of its own is needed. At
                   order 2 the prediction before the change is kept as history
        =========  =============================================================================

        By default what fits the schedule: "free" where states are attenuated, as what a change
        opens then holds no signal that a call could predict, and "network" elsewhere.
    spectral_variance : bool
        Add, to the noise of a step, the variance that the spectrum leaves to the clean image given
        the state, up to what keeps the marginal; directions that a change opens get signal and
        noise, and the last step draws from that variance too instead of ending on the mean. With
        it every step is exact for Gaussian data, however long, for any ``eta``.

    Raises
    ------
    InputError
        If an option is out of range, or two do not go together.
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
        """Sampler for a schedule, with ``changes`` chosen.

        Raises
        ------
        InputError
            If the schedule's states are attenuated and ``changes`` need calls, or it blurs and the
            sampler cannot.
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
        """Whether changes of resolution cost no network call."""
        return self.changes == "free"


DDIM = Sampler()
ANCESTRAL = Sampler(eta=1.0)
SECOND_ORDER = Sampler(order=2)
