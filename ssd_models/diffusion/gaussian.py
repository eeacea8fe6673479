"""Gaussian field of a spectrum: samples, and the exact denoiser as a replacement of a network.

With the exact denoiser a sampler's output has the spectrum that `theory.oracle.report` predicts.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor

from theory.images.operators import dct_basis
from theory.schedule.resolution import ResolutionSchedule
from theory.spectrum.spectrum import Spectrum
from theory.support.errors import InputError

from .constants import Constants
from .process import Generators, ScaleSpaceProcess, standard_normal

LARGEST_DENSE = 32
"""Largest side of states, in pixels, whose filter may be a dense matrix."""

_KEPT = 64  # cached tensors; without blur fewer are needed


class GaussianField:
    """Gaussian images with a spectrum's mean and independent DCT coefficients of its power."""

    def __init__(self, spectrum: Spectrum):
        self.spectrum = spectrum
        self.channels = spectrum.channels
        self._constant = Constants(_KEPT)

    @classmethod
    def of(cls, spectrum: Spectrum, process: ScaleSpaceProcess) -> GaussianField:
        """Field of a process's images; `InputError` unless they are squares of the same size."""
        size = spectrum.resolution
        if process.image_size != (size, size) or process.schedule.resolution != size:
            raise InputError(
                f"spectrum: has resolution {size}, the process images of {process.image_size}"
            )
        return cls(spectrum)

    def check_channels(self, channels: int) -> None:
        """Raise `InputError` unless images have the field's channels."""
        if channels != self.channels:
            raise InputError(f"spectrum: has {self.channels} channels, the images {channels}")

    def components(self, x: Tensor) -> Tensor:
        """Colour components of (N, C, h, w)."""
        return torch.einsum("ck,nchw->nkhw", self.colours(x), x)

    def draw(self, count: int, generator: Generators, like: Tensor) -> Tensor:
        """Draw clean images, (count, C, R, R), with the dtype and device of ``like``."""
        size = self.spectrum.resolution
        basis = self._constant("basis", lambda: dct_basis(size), like)
        deviation = self._constant(
            "deviation", lambda: np.sqrt(self.spectrum.power).transpose(2, 0, 1), like
        )
        white = standard_normal((count, self.channels, size, size), like, generator)
        components = basis.T @ (white * deviation) @ basis
        return self.mean(like) + torch.einsum("ck,nkhw->nchw", self.colours(like), components)

    def mean(self, like: Tensor) -> Tensor:
        """Mean image, (1, C, R, R), with the dtype and device of ``like``."""
        return self._constant("mean", lambda: self.spectrum.mean.transpose(2, 0, 1)[None], like)

    def colours(self, like: Tensor) -> Tensor:
        """Colour components as columns over the channels, (C, C)."""
        return self._constant("colours", lambda: self.spectrum.colour_basis, like)


def has_exact_denoiser(schedule: ResolutionSchedule) -> bool:
    """Whether `GaussianDenoiser` supports the sizes of all states of a schedule."""
    return schedule.operator == "dct" or max((0, *schedule.levels[1:])) <= LARGEST_DENSE


class GaussianDenoiser:
    """Exact denoiser of a `GaussianField` (Wiener filter), with the signature of a network.

    Parameters
    ----------
    spectrum : Spectrum
        Spectrum at the schedule's resolution.
    process : ScaleSpaceProcess
        Process of square images. Unless the operator is `dct`, states below full resolution have a
        side of at most 32 pixels, as their filter is a dense matrix.

    Raises
    ------
    InputError
        If spectrum and process do not fit; on use, if a state is too large or has other channels.
    """

    def __init__(self, spectrum: Spectrum, process: ScaleSpaceProcess):
        self.process, self.field = process, GaussianField.of(spectrum, process)
        self._constant = Constants(_KEPT)
        self._filters: dict[Hashable, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}

    def __call__(self, x: Tensor, t: int, out_resolution: int) -> Tensor:
        """``E[clean image at out_resolution | x_t]``, (N, C, q, q) for (N, C, r, r)."""
        self.field.check_channels(x.shape[1])
        alpha, sigma = float(self.process.schedule.alpha[t]), float(self.process.schedule.sigma[t])
        mean = self.field.mean(x)
        components = self.field.components(x - alpha * self.process.degrade(mean, t))
        if self._diagonal(t):
            transfer = self._transfer(t, x)
            out = self._filter_bands(components, transfer, out_resolution, alpha, sigma)
        else:
            out = self._filter_dense(components, t, out_resolution, alpha, sigma)
        return self._around_mean(out, mean, out_resolution)

    def at_steps(self, x: Tensor, t: Tensor, out_resolution: int) -> Tensor:
        """`__call__` for a batch whose images have steps of their own, (N,), all of one level.

        Parameters
        ----------
        x : (N, C, r, r) tensor
        t : (N,) integer tensor
            On the host.
        out_resolution : int

        Raises
        ------
        InputError
            If the schedule blurs, or its operator is not `dct` and there are several levels.
        """
        schedule = self.process.schedule
        if schedule.blurs or schedule.mixes_frequencies:
            raise InputError(
                "Gaussian denoiser: steps of a batch may differ only with operator 'dct' and "
                "without blur"
            )
        self.field.check_channels(x.shape[1])
        side = x.shape[-1]
        alpha, sigma = (self.process.table(name, t, x) for name in ("alpha", "sigma"))
        mean = self.field.mean(x)
        degraded = self.process.degrade(mean.expand(len(x), -1, -1, -1), t)
        components = self.field.components(x - alpha * degraded)
        transfer = self.process.transfer(t, side, x)
        out = self._filter_bands(components, transfer, out_resolution, alpha, sigma)
        return self._around_mean(out, mean, out_resolution)

    def _around_mean(self, components: Tensor, mean: Tensor, q: int) -> Tensor:
        """Images of ``q`` pixels from their colour components without mean."""
        expected = torch.einsum("ck,nkhw->nchw", self.field.colours(components), components)
        return self.process.target(mean, q) + expected

    def residual(self, like: Tensor, t: int, out_resolution: int, generator: Generators) -> Tensor:
        """Draw clean images at ``out_resolution`` minus their expectation given the state at ``t``.

        A clean image and its state are drawn and the state is denoised, so that the draw has the
        conditional covariance exactly, for every operator. It depends on no given state; ``like``
        only sets the number of images, dtype and device.
        """
        clean = self.field.draw(len(like), generator, like)
        state = self.process.add_noise(clean, t, generator=generator)
        return self.process.target(clean, out_resolution) - self(state, t, out_resolution)

    def _diagonal(self, t: int) -> bool:
        schedule = self.process.schedule
        return schedule.operator == "dct" or schedule.resolutions[t] == schedule.resolution

    def _transfer(self, t: int, like: Tensor) -> Tensor:
        """Factors from the clean image to the state at ``t``, one for each DCT coefficient."""
        schedule = self.process.schedule
        key = schedule.path(None, t) if schedule.attenuation is None else ("transfer", t)
        return self._constant(key, lambda: schedule.transfer(t), like, torch.float64)

    def _target_transfer(self, resolution: int, like: Tensor) -> Tensor:
        """Factors from the clean image to a prediction, one for each DCT coefficient."""
        schedule, t = self.process.schedule, self.process.target_step(resolution)
        if t is None:
            return torch.ones((), dtype=torch.float64)  # 0-d tensors work on any device
        path = schedule.path(None, t)
        s = self._constant(("target", path), lambda: path.factors()[1], like, torch.float64)
        return s[:, None] * s

    def _filter_bands(
        self, x: Tensor, transfer: Tensor, q: int, alpha: float | Tensor, sigma: float | Tensor
    ) -> Tensor:
        """Wiener filter of colour components; computed in the precision of ``transfer``."""
        r = x.shape[-1]
        power = self._constant(
            ("power", r),
            lambda: self.field.spectrum.power[:r, :r].transpose(2, 0, 1),
            x,
            transfer.dtype,
        )
        transfer = alpha * transfer
        to = self._target_transfer(q, x)
        wiener = transfer * power / (transfer**2 * power + sigma**2)
        wiener = wiener * (to[:r, :r] if to.ndim else to)
        analysis = self._constant(("basis", r), lambda: dct_basis(r), x)
        synthesis = self._constant(("basis", q), lambda: dct_basis(q), x)
        coefficients = (analysis @ x @ analysis.T) * wiener.to(x)
        return synthesis[:r].T @ coefficients @ synthesis[:r]

    def _filter_dense(self, x: Tensor, t: int, q: int, alpha: float, sigma: float) -> Tensor:
        r = x.shape[-1]
        path = self.process.schedule.path(None, t)
        out = []
        for component in range(self.field.channels):
            values, vectors, cross = (
                self._constant((path, *key), partial(self._part, t, *key), x)
                for key in ((q, component, part) for part in range(3))
            )
            gain = alpha / (alpha**2 * values + sigma**2)
            spectrum = x[:, component].reshape(len(x), r * r) @ vectors
            out.append(((spectrum * gain) @ cross.T).reshape(len(x), q, q))
        return torch.stack(out, dim=1)

    def _part(self, t: int, q: int, component: int, part: int) -> np.ndarray:
        return self._dense(t, q)[component][part]

    def _dense(self, t: int, q: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Per component: eigenvalues, eigenvectors V of Cov(M x0); and Cov(target, M x0) V."""
        schedule = self.process.schedule
        r = int(schedule.resolutions[t])
        if r > LARGEST_DENSE:
            raise InputError(
                f"Gaussian denoiser: a state of {r} pixels with operator {schedule.operator!r} is "
                f"larger than {LARGEST_DENSE}; use operator 'dct'"
            )
        path = schedule.path(None, t)
        key = (path, q)
        if key not in self._filters:
            if len(self._filters) >= 16:  # with blur every step has its own
                del self._filters[next(iter(self._filters))]
            basis = dct_basis(schedule.resolution)
            down = path.matrix() @ basis.T  # (r, R), from DCT coefficients
            step = self.process.target_step(q)
            to = basis.T if step is None else schedule.path(None, step).matrix() @ basis.T
            both = np.einsum("ik,jl->ijkl", down, down).reshape(r * r, *basis.shape)
            parts = []
            for component in range(self.field.channels):
                weighted = both * self.field.spectrum.power[:, :, component]
                covariance = weighted.reshape(r * r, -1) @ both.reshape(r * r, -1).T
                values, vectors = eigh(covariance)
                aimed = (to @ weighted @ to.T).reshape(r * r, q * q)
                parts.append((values, vectors, aimed.T @ vectors))
            self._filters[key] = parts
        return self._filters[key]
