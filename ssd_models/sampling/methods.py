"""Registry of samplers, and the choice of one that a model and its options allow.

To add a sampler to the pipeline and the command line, add a line to `METHODS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from theory.oracle.sampler import Sampler
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError

from ..diffusion.process import Generators, ScaleSpaceProcess
from .samplers import Denoiser, ResidualSampler, ReverseStepper, SamplerState, trajectory
from .whitened import whitened_trajectory


@dataclass(frozen=True)
class Chain:
    """Inputs of a sampler for one batch of images.

    Attributes
    ----------
    denoise : callable
        ``denoise(x_t, t, out_resolution)``, see `ssd_models.sampling.samplers`.
    process : ScaleSpaceProcess
    x : (N, C, h, w) tensor
        State at the first step.
    steps : sequence of int
        Steps to visit, falling.
    sampler : Sampler
        The options.
    generator : torch.Generator or a sequence of them, optional
    spectrum : Spectrum, optional
        Of the training data, if known.
    variance : ResidualSampler, optional
        Source of spectral variance; given if ``sampler.spectral_variance``.
    """

    denoise: Denoiser
    process: ScaleSpaceProcess
    x: Tensor
    steps: Sequence[int]
    sampler: Sampler
    generator: Generators
    spectrum: Spectrum | None
    variance: ResidualSampler | None


@dataclass(frozen=True)
class Method:
    """Registry entry of a sampler.

    Attributes
    ----------
    order : {1, 2}
        The ``order`` of its `theory.Sampler`.
    states : callable
        Function of a `Chain` that yields a `SamplerState` after each step; the ``x`` of the last
        are the images.
    obstacle : callable
        Function of options, process and spectrum (or None) that returns why the sampler cannot be
        used, as text for the error message; None if it can.
    takes_plans : bool
        Whether the sampler may be the default for planned steps. False for ``whitened``, as the
        oracle plans steps for the other samplers.
    """

    order: int
    states: Callable[[Chain], Iterator[SamplerState]]
    obstacle: Callable[[Sampler, ScaleSpaceProcess, Spectrum | None], str | None]
    takes_plans: bool = True


def _whitened(chain: Chain) -> Iterator[SamplerState]:
    assert chain.spectrum is not None
    return whitened_trajectory(
        chain.denoise,
        chain.process,
        chain.x,
        chain.steps,
        chain.spectrum,
        chain.sampler,
        chain.generator,
    )


def _stepwise(chain: Chain) -> Iterator[SamplerState]:
    stepper = ReverseStepper(chain.process, chain.sampler, chain.variance)
    return trajectory(stepper, chain.denoise, chain.x, chain.steps, chain.generator)


def _no_obstacle(sampler: Sampler, process: ScaleSpaceProcess, spectrum: Spectrum | None) -> None:
    return None


def _not_second_order(
    sampler: Sampler, process: ScaleSpaceProcess, spectrum: Spectrum | None
) -> str | None:
    if sampler.eta != 0:
        return "is deterministic; give eta 0, or sampler 'eta'"
    if sampler.spectral_variance or process.schedule.blurs:
        return "needs a schedule without blur, and no spectral variance; take sampler 'eta'"
    return None


def _not_whitened(
    sampler: Sampler, process: ScaleSpaceProcess, spectrum: Spectrum | None
) -> str | None:
    height, width = process.image_size
    if spectrum is None or height != width or process.schedule.mixes_frequencies:
        return (
            "needs the training data's spectrum, square images, and a schedule of operator 'dct' "
            "or without changes"
        )
    return _not_second_order(sampler, process, spectrum)


METHODS: dict[str, Method] = {
    "whitened": Method(2, _whitened, _not_whitened, takes_plans=False),
    "dpmpp_2m": Method(2, _stepwise, _not_second_order),
    "eta": Method(1, _stepwise, _no_obstacle),
}
"""All samplers by name; the first without an obstacle is the default.

| name | sampler |
| --- | --- |
| ``whitened`` | second order, exact for the Gaussian part (`ssd_models.sample_whitened`) |
| ``dpmpp_2m`` | second order in log-snr (`ssd_models.sample_dpmpp_2m`) |
| ``eta`` | first order, from deterministic to ancestral (`ssd_models.sample_eta`) |
"""


def choose_method(
    name: str | None,
    sampler: Sampler,
    process: ScaleSpaceProcess,
    spectrum: Spectrum | None,
    planned: bool = False,
) -> str:
    """Check a sampler's name, or choose the first sampler without an obstacle.

    Parameters
    ----------
    name : str, optional
        Key of `METHODS`.
    sampler : Sampler
        Options; ``order`` is ignored.
    process : ScaleSpaceProcess
    spectrum : Spectrum, optional
        Of the training data.
    planned : bool
        Whether steps are planned by the oracle.

    Returns
    -------
    str
        Key of `METHODS`.

    Raises
    ------
    InputError
        If there is no sampler of that name, or it has an obstacle.
    """
    if name is None:
        return next(
            candidate
            for candidate, method in METHODS.items()
            if method.obstacle(sampler, process, spectrum) is None
            and (method.takes_plans or not planned)
        )
    if name not in METHODS:
        raise InputError(f"sampler {name!r}: choose from {', '.join(METHODS)}")
    if obstacle := METHODS[name].obstacle(sampler, process, spectrum):
        raise InputError(f"sampler {name!r}: {obstacle}")
    return name
