"""Degradations known only as functions: adjoints by autograd, singular values by Lanczos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from theory.support.errors import InputError

from .constants import float64_device
from .degradation import Degradation, SpectralFunction

LinearMap = Callable[[Tensor], Tensor]
_CHECK_EVERY = 8  # Lanczos iterations between checks of convergence


class MatrixFreeDegradation(Degradation):
    """Any linear function of a batch of images, such as a mask composed with a blur.

    Functions of ``M Mᵀ`` are computed by Lanczos iterations on all images of a batch at once, until
    they have converged. The check for that waits for the device every few iterations;
    `SeparableDegradation` never waits.

    Parameters
    ----------
    function : callable
        Maps (N, C, h, w) to (N, C, h', w'); linear, and the same for each image.
    shape_in : (int, int)
        Height and width of the input in pixels.
    channels : int
        Channels of the input.
    adjoint : callable, optional
        Adjoint of ``function``; by default computed by autograd.
    like : tensor, optional
        Sets the dtype and device of the function's input; by default torch's default dtype, on the
        CPU.
    tolerance : float
        Relative change of a result between checks at which the iteration ends. Float32 results
        cannot reach much below 1e-6.
    max_iterations : int
        Most Lanczos iterations of one result.

    Raises
    ------
    InputError
        If ``function`` is not linear, or zero. Later, if an iteration does not converge.

    Notes
    -----
    Singular values whose square is below 32 machine epsilons of the largest square count as zero.
    In those directions a sampler draws fresh noise, which keeps the marginals as well. With small
    singular values a deterministic step (``eta=0``) needs the inverse square root of an
    ill-conditioned matrix: it takes many iterations, and has rounding errors in proportion to one
    over the smallest singular value (float32: 3e-5 if it is 1/60 of the largest).
    """

    def __init__(
        self,
        function: LinearMap,
        shape_in: tuple[int, int],
        channels: int = 1,
        adjoint: LinearMap | None = None,
        like: Tensor | None = None,
        tolerance: float = 1e-6,
        max_iterations: int = 300,
    ):
        self.function, self._adjoint = function, adjoint
        self.tolerance, self.max_iterations = tolerance, max_iterations
        self.shape_in = (int(shape_in[0]), int(shape_in[1]))
        like = torch.empty(0) if like is None else like
        generator = torch.Generator().manual_seed(0)
        probe = torch.randn((2, channels, *self.shape_in), generator=generator).to(like)
        out = function(probe)
        mixed = function(probe[:1] - 2 * probe[1:])
        if out.ndim != 4 or not torch.allclose(
            mixed, out[:1] - 2 * out[1:], rtol=0, atol=1e-4 * float(out.abs().max())
        ):
            raise InputError(
                "degradation: the function is not linear, or does not treat each image of a batch "
                "of shape (N, C, h, w) alike"
            )
        self.shape_out = (int(out.shape[-2]), int(out.shape[-1]))
        self._largest = self._largest_eigenvalue(out[:1])

    @classmethod
    def composed(
        cls, parts: Sequence[Degradation], channels: int = 1, **options: Any
    ) -> MatrixFreeDegradation:
        """Compose degradations, of which the first is applied first.

        Parameters
        ----------
        parts : sequence of Degradation
        channels : int
        **options
            Options of the class, such as ``tolerance``.

        Raises
        ------
        InputError
            If there are no degradations, or the sizes of successive ones do not match.
        """
        if not parts:
            raise InputError("degradation: needs at least one part")

        def forward(x: Tensor) -> Tensor:
            for part in parts:
                x = part.forward(x)
            return x

        def adjoint(y: Tensor) -> Tensor:
            for part in reversed(parts):
                y = part.adjoint(y)
            return y

        for before, after in pairwise(parts):
            if before.shape_out != after.shape_in:
                raise InputError(
                    f"degradation: {before.shape_out} pixels cannot be followed by a map of "
                    f"{after.shape_in}"
                )
        return cls(forward, parts[0].shape_in, channels, adjoint, **options)

    @property
    def lambda_max(self) -> float:
        """Largest eigenvalue of ``M Mᵀ``, by Lanczos iterations."""
        return self._largest

    def forward(self, x: Tensor) -> Tensor:
        """``M x``: (N, C, *shape_in) to (N, C, *shape_out)."""
        return self.function(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """``Mᵀ y``: (N, C, *shape_out) to (N, C, *shape_in)."""
        if self._adjoint is not None:
            return self._adjoint(y)
        tracked = torch.is_grad_enabled() and y.requires_grad
        with torch.inference_mode(False), torch.enable_grad():
            x = torch.zeros(
                (*y.shape[:2], *self.shape_in), dtype=y.dtype, device=y.device, requires_grad=True
            )
            given = y if tracked else y.detach().clone()
            (result,) = torch.autograd.grad(self.function(x), x, given, create_graph=tracked)
        return result

    def lift(self, y: Tensor, gain: SpectralFunction) -> Tensor:
        """``V diag(gain(s)) Uᵀ y = Mᵀ g(M Mᵀ) y`` with ``g = gain(s)/s``."""
        return self.adjoint(self.gram_function(y, lambda s: gain(s) / s))

    def filter(self, x: Tensor, kept: SpectralFunction, rest: float) -> Tensor:
        """``rest x + Mᵀ h(M Mᵀ) M x`` with ``h = (kept(s) − rest)/s²``."""
        inside = self.gram_function(self.forward(x), lambda s: (kept(s) - rest) / s**2)
        return rest * x + self.adjoint(inside)

    def gram_function(self, y: Tensor, function: SpectralFunction) -> Tensor:
        """``f(M Mᵀ) y`` with ``f`` as a function of the singular values; 0 for zero ones.

        Raises
        ------
        InputError
            If ``max_iterations`` do not reach ``tolerance``.
        """
        return _SelfAdjoint.apply(y, lambda v: self._gram_function(v, function))

    def _gram_function(self, y: Tensor, function: SpectralFunction) -> Tensor:
        cut = 32 * torch.finfo(y.dtype).eps * self._largest

        def of_eigenvalues(values: Tensor) -> Tensor:
            inside = values > cut
            s = torch.where(inside, values, 1.0).sqrt()
            return torch.where(inside, function(s), 0.0)

        flat = y.reshape(len(y), -1)
        norm = flat.norm(dim=1, keepdim=True)
        krylov = _Krylov(self, y.shape, flat / norm.clamp_min(torch.finfo(y.dtype).tiny))
        previous: Tensor | None = None
        limit = min(self.max_iterations, flat.shape[1])
        while len(krylov) < limit:
            krylov.extend(min(_CHECK_EVERY, limit - len(krylov)))
            weights = krylov.first_column(of_eigenvalues)  # (N, k) in the orthonormal basis
            if previous is not None:
                change = weights.clone()
                change[:, : previous.shape[1]] -= previous
                if bool((change.norm(dim=1) <= self.tolerance * weights.norm(dim=1)).all()):
                    break
            previous = weights
            if krylov.exhausted():
                break
        else:
            if limit < flat.shape[1]:
                raise InputError(
                    f"degradation: Lanczos did not reach {self.tolerance:g} in {limit} iterations; "
                    "raise max_iterations or tolerance"
                )
        combined = torch.einsum("nk,knd->nd", weights.to(y), krylov.basis())
        return (norm * combined).reshape(y.shape)

    def _largest_eigenvalue(self, start: Tensor) -> float:
        flat = start.reshape(1, -1)
        if not bool(flat.any()):
            raise InputError("degradation: the function maps everything to zero")
        krylov = _Krylov(self, start.shape, flat / flat.norm())
        krylov.extend(min(96, flat.shape[1]))
        return float(krylov.eigenvalues().max())


class _SelfAdjoint(torch.autograd.Function):
    """Self-adjoint linear map, whose gradient is the map itself."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, linear: LinearMap) -> Tensor:
        ctx.linear = linear
        return linear(y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _SelfAdjoint.apply(gradient, ctx.linear), None


class _Krylov:
    """Lanczos recursion for ``M Mᵀ`` with full reorthogonalization, separate for each image."""

    def __init__(self, degradation: Degradation, shape: torch.Size, start: Tensor):
        self._map, self._shape = degradation, shape
        self._vectors = [start]  # each (N, d)
        self._diagonal: list[Tensor] = []
        self._off: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._diagonal)

    def basis(self) -> Tensor:
        """Orthonormal vectors, (k, N, d)."""
        return torch.stack(self._vectors[: len(self)])

    def extend(self, count: int) -> None:
        for _ in range(count):
            q = self._vectors[-1]
            w = self._map.forward(self._map.adjoint(q.reshape(self._shape))).reshape(q.shape)
            self._diagonal.append((w * q).sum(dim=1))
            known = torch.stack(self._vectors)
            for _ in range(2):  # twice is enough to be orthogonal to rounding
                w = w - torch.einsum("kn,knd->nd", torch.einsum("knd,nd->kn", known, w), known)
            length = w.norm(dim=1)
            # A remainder of the size of rounding errors: the Krylov space is complete.
            floor = 32 * torch.finfo(w.dtype).eps * torch.stack(self._diagonal).abs().amax(dim=0)
            length = torch.where(length > floor, length, 0.0)
            self._off.append(length)
            alive = length[:, None] > 0
            tiny = torch.finfo(w.dtype).tiny
            self._vectors.append(torch.where(alive, w / length[:, None].clamp_min(tiny), 0.0))

    def exhausted(self) -> bool:
        """Whether the Krylov space of every image is complete."""
        return not bool(self._off[-1].any())

    def _tridiagonal(self) -> Tensor:
        exact = (float64_device(self._diagonal[0].device), torch.float64)
        diagonal = torch.stack(self._diagonal, dim=1).to(*exact)  # (N, k)
        matrix = torch.diag_embed(diagonal)
        if len(self) > 1:
            off = torch.stack(self._off[: len(self) - 1], dim=1).to(*exact)
            matrix = matrix + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
        return matrix

    def eigenvalues(self) -> Tensor:
        """Ritz values, (N, k)."""
        return torch.linalg.eigvalsh(self._tridiagonal())

    def first_column(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """First column of ``f(T)``, (N, k)."""
        values, vectors = torch.linalg.eigh(self._tridiagonal())
        return torch.einsum("nkj,nj,nj->nk", vectors, function(values), vectors[:, 0])
