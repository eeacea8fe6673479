"""Derivations of the formulas of mathematics.md by computer algebra, from their definitions.

Each function returns a `Derivation`: labelled steps computed by sympy, and an expression that is
zero if the formula holds. All quantities are scalars: in each singular direction a linear
degradation M multiplies by its singular value m, and white noise stays white.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import sympy as sp

a_s, a_t, sigma_s, sigma_t, m = sp.symbols("a_s a_t sigma_s sigma_t m", positive=True)
x0, x_s, x_t = sp.symbols("x_0 x_s x_t", real=True)
S, snr = sp.symbols("S rho", positive=True)


@dataclass(frozen=True)
class Derivation:
    """Labelled steps of a derivation, and the identity that it proves."""

    title: str
    steps: tuple[tuple[str, sp.Basic], ...]
    """Label of each step, with mathematics between dollar signs, and its expression."""
    identity: sp.Expr
    """Sum of squared differences between derived and stated formulas; zero if they agree."""

    def holds(self) -> bool:
        """Whether the identity simplifies to zero."""
        return sp.simplify(self.identity) == 0

    def latex(self) -> str:
        """The steps as an aligned LaTeX block."""
        lines = [
            rf"&\text{{{label}:}} && {sp.latex(line, ln_notation=True)}"
            for label, line in self.steps
        ]
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex()}\n$$"


def _condition(
    mean: sp.Matrix, covariance: sp.Matrix, observed: sp.Expr
) -> tuple[sp.Expr, sp.Expr]:
    """Mean and variance of the first of two jointly Gaussian numbers, given the second."""
    gain = covariance[0, 1] / covariance[1, 1]
    return mean[0] + gain * (observed - mean[1]), covariance[0, 0] - gain * covariance[0, 1]


def _forward_variance() -> sp.Expr:
    """Variance of x_t given x_s in a direction of singular value m (mathematics §2)."""
    c = a_t / a_s
    return sigma_t**2 - c**2 * sigma_s**2 * m**2


@cache
def forward_marginal() -> Derivation:
    """``q(x_s | x_0)``, then ``q(x_t | x_s)``, gives ``N(a_t M x_0, σ_t² I)`` (mathematics §2)."""
    c = a_t / a_s
    xi, zeta = sp.symbols("xi zeta", real=True)  # independent, standard normal
    step = _forward_variance()
    state = sp.expand(c * m * (a_s * x0 + sigma_s * xi) + sp.sqrt(step) * zeta)
    mean = state.subs({xi: 0, zeta: 0})
    variance = sp.expand(state.coeff(xi) ** 2 + state.coeff(zeta) ** 2)
    return Derivation(
        "forward marginal",
        (
            ("one step", sp.Eq(x_t, c * m * x_s + sp.sqrt(step) * zeta, evaluate=False)),
            ("from the clean image", sp.Eq(x_t, state, evaluate=False)),
            ("its mean", mean),
            ("its variance", sp.simplify(variance)),
        ),
        (mean - a_t * m * x0) ** 2 + (variance - sigma_t**2) ** 2,
    )


@cache
def posterior() -> Derivation:
    """``q(x_s | x_t, x_0)`` by conditioning the joint Gaussian of both states (mathematics §2)."""
    c = a_t / a_s
    mu = a_s * x0
    covariance = sp.Matrix(
        [[sigma_s**2, c * m * sigma_s**2], [c * m * sigma_s**2, sigma_t**2]]
    )  # Var x_t by `forward_marginal`
    mean, variance = _condition(sp.Matrix([mu, c * m * mu]), covariance, x_t)
    kappa = sp.Symbol("kappa", positive=True)
    value = c * sigma_s**2 / sigma_t**2
    stated_mean = mu + kappa * m * (x_t - a_t * m * mu / a_s)
    stated_variance = sigma_s**2 - kappa**2 * sigma_t**2 * m**2
    gap = (mean - stated_mean) ** 2 + (variance - stated_variance) ** 2
    return Derivation(
        "posterior of the cleaner state",
        (
            ("joint covariance", covariance),
            ("conditional mean", sp.simplify(mean)),
            ("conditional variance", sp.simplify(variance)),
            ("with the gain", sp.Eq(kappa, value)),
            ("mean", stated_mean),
            ("variance", stated_variance),
        ),
        gap.subs(kappa, value),
    )


@cache
def validity() -> Derivation:
    """The variance that a step adds and the posterior's have the same sign (mathematics §2)."""
    covariance = sp.Matrix(
        [
            [sigma_s**2, a_t / a_s * m * sigma_s**2],
            [a_t / a_s * m * sigma_s**2, sigma_t**2],
        ]
    )
    _, variance = _condition(sp.zeros(2, 1), covariance, x_t)
    step = _forward_variance()
    least = sp.solve(sp.Eq(step, 0), sigma_t)[0]
    return Derivation(
        "condition for a valid step",
        (
            ("noise of the step", step),
            ("least noise that allows it", sp.Eq(sigma_t, least)),
            ("posterior variance over it", sp.Eq(variance / step, sp.simplify(variance / step))),
        ),
        (sp.simplify(variance / step) - sigma_s**2 / sigma_t**2) ** 2
        + (least - a_t / a_s * m * sigma_s) ** 2,
    )


@cache
def eta_family() -> Derivation:
    """Any gain k with noise ``σ_s² − σ_t² k²`` keeps the marginal (mathematics §2)."""
    k, xi, zeta = sp.symbols("k xi zeta", real=True)
    state = a_t * m * x0 + sigma_t * xi
    new = a_s * x0 + k * (state - a_t * m * x0) + sp.sqrt(sigma_s**2 - sigma_t**2 * k**2) * zeta
    new = sp.expand(new)
    variance = sp.expand(new.coeff(xi) ** 2 + new.coeff(zeta) ** 2)
    ddpm = a_t / a_s * sigma_s**2 / sigma_t**2
    ddim = sigma_s / sigma_t
    beta = 1 - a_t**2 / a_s**2  # the usual β_t of a chain without change
    unit = {sigma_s: sp.sqrt(1 - a_s**2), sigma_t: sp.sqrt(1 - a_t**2)}
    ddpm_noise = (sigma_s**2 - sigma_t**2 * ddpm**2).subs(unit)
    known = (1 - a_s**2) / (1 - a_t**2) * beta  # Ho et al. 2020, eq. 7
    return Derivation(
        "family of samplers",
        (
            ("step", sp.Eq(x_s, new, evaluate=False)),
            ("variance for every gain", variance),
            ("DDPM, $m = 1$: gain", sp.Eq(k, ddpm)),
            ("DDPM's noise", known),
            ("DDIM, $m = 1$: gain", sp.Eq(k, ddim)),
            ("DDIM's noise", (sigma_s**2 - sigma_t**2 * ddim**2)),
        ),
        (variance - sigma_s**2) ** 2
        + sp.simplify(ddpm_noise - known) ** 2
        + (sigma_s**2 - sigma_t**2 * ddim**2) ** 2,
    )


@cache
def matched_noise() -> Derivation:
    """A halving with matched noise keeps the low band's snr, else quarters it (mathematics §3)."""
    low = sp.Symbol("S_L", positive=True)  # variance of a low coefficient of the large image
    half = sp.Rational(1, 2)  # both by box and dct: A A^T = I/2 on an axis, M M^T = I/4
    before = a_s**2 * low / sigma_s**2
    least = sp.solve(sp.Eq(_forward_variance(), 0), sigma_t)[0].subs(m, half)
    ratio = sp.simplify(least**2 / a_t**2)
    matched = sp.simplify((a_t * half) ** 2 * low / (ratio * a_t**2))
    paper = ((a_t * half) ** 2 * low / sigma_t**2).subs({a_t: a_s, sigma_t: sigma_s})
    return Derivation(
        "matched noise",
        (
            ("low coefficient before the change", before),
            ("least noise after it", sp.Eq(sigma_t**2 / a_t**2, ratio, evaluate=False)),
            ("low coefficient after, matched", matched),
            ("low coefficient after, noise kept", paper),
        ),
        (matched - before) ** 2 + (before / paper - 4) ** 2,
    )


@cache
def discarded_information() -> Derivation:
    """Information of a high band given a correlated low one, and its bound (mathematics §4)."""
    low, high = sp.symbols("S_L S_H", positive=True)
    r = sp.Symbol("r", real=True)
    data = sp.Matrix(
        [[low, r * sp.sqrt(low * high)], [r * sp.sqrt(low * high), high]]
    )  # of (x_L, x_H)
    both = (sp.eye(2) + snr * data).det()  # e^{2 I} of both noisy bands
    kept = 1 + snr * low
    # Variance of x_H given the noisy low band y = √ρ x_L + noise.
    given = high - (sp.sqrt(snr) * data[0, 1]) ** 2 / kept
    bound = 1 + snr * high
    gap = sp.factor(sp.simplify(bound - both / kept))
    return Derivation(
        "discarded information",
        (
            ("total", sp.log(sp.collect(sp.expand(both), snr, sp.factor)) / 2),
            ("of the kept band", sp.log(kept) / 2),
            ("variance left in the discarded band", sp.simplify(given)),
            ("discarded, exactly", sp.log(1 + snr * sp.simplify(given)) / 2),
            ("bound", sp.log(bound) / 2),
            ("bound over exact, inside the logarithm", gap),
        ),
        # The gap is a square over a positive number: the bound holds, with equality at r = 0.
        (sp.simplify(both / kept - (1 + snr * given))) ** 2
        + (gap - (r * snr * sp.sqrt(low * high)) ** 2 / kept) ** 2,
    )


@cache
def change_divergence() -> Derivation:
    """KL(sampler ‖ truth) of a new coefficient, ``½ [ln(1 + ρ) − ρ/(1 + ρ)]`` (mathematics §6)."""
    x = sp.Symbol("x", real=True)
    generated, truth = sigma_s**2, sigma_s**2 * (1 + snr)
    log_ratio = (sp.log(truth / generated) - x**2 / generated + x**2 / truth) / 2
    density = sp.exp(-(x**2) / (2 * generated)) / sp.sqrt(2 * sp.pi * generated)
    divergence = sp.integrate(sp.expand(log_ratio) * density, (x, -sp.oo, sp.oo))
    top, bottom = sp.fraction(sp.together(sp.expand_log(sp.simplify(divergence), force=True)))
    log = sp.log(1 + snr)
    share = sp.expand(top).coeff(log)
    divergence = sp.cancel(share / bottom) * log + sp.cancel((top - share * log) / bottom)
    stated = (sp.log(1 + snr) - snr / (1 + snr)) / 2
    series = sp.series(stated, snr, 0, 5).removeO()
    return Derivation(
        "divergence at a change",
        (
            ("generated and true variance", sp.Tuple(generated, truth)),
            ("log ratio of densities", log_ratio),
            ("its mean over generated values", divergence),
            ("for little signal", series),
        ),
        (divergence - stated) ** 2 + (series - (snr**2 / 4 - snr**3 / 3 + 3 * snr**4 / 8)) ** 2,
    )


@cache
def i_mmse_gaussian() -> Derivation:
    """``dI/dρ = ½ mmse`` for a Gaussian coefficient of variance S (mathematics §4)."""
    joint = sp.Matrix([[S, sp.sqrt(snr) * S], [sp.sqrt(snr) * S, 1 + snr * S]])  # of (x0, y)
    y = sp.Symbol("y", real=True)
    _, mmse = _condition(sp.zeros(2, 1), joint, y)
    # h(y) − h(y | x0), both Gaussian
    information = sp.log(2 * sp.pi * sp.E * joint[1, 1]) / 2 - sp.log(2 * sp.pi * sp.E) / 2
    return Derivation(
        "I-MMSE, Gaussian input",
        (
            ("observation", sp.Eq(y, sp.sqrt(snr) * x0 + sp.Symbol("epsilon"))),
            ("least error", sp.simplify(mmse)),
            ("information, nats", sp.simplify(information)),
            ("its slope", sp.simplify(sp.diff(information, snr))),
        ),
        sp.diff(information, snr) - mmse / 2,
    )


@cache
def i_mmse_binary() -> Derivation:
    """``dI/dρ = ½ mmse`` for an input of ±1 (mathematics §4).

    Given ``x0 = 1`` the argument ``u = ρ + √ρ Z`` enters ``I = ρ − E ln cosh u`` and
    ``mmse = 1 − E tanh u``. Differentiating under the expectation leaves ``E[Z f(u)]``, which
    Stein's lemma turns into ``√ρ E f'(u)``; ``E tanh u = E tanh² u`` holds because
    ``tanh(u) (1 − tanh u)`` times the density of u is odd.
    """
    u, z = sp.symbols("u Z", real=True)
    argument = snr + sp.sqrt(snr) * z
    potential, tanh = sp.log(sp.cosh(u)), sp.tanh(u)
    is_derivative = sp.simplify((sp.diff(potential, u) - tanh).rewrite(sp.exp))
    # d/dρ f(u) = f'(u) (1 + Z/(2√ρ)); Stein: E[Z f'(u)] = √ρ E f''(u)
    chain = sp.diff(argument, snr)
    with_z, without = sp.Poly(chain, z).all_coeffs()
    slope = 1 - (tanh * without + with_z * sp.sqrt(snr) * sp.diff(tanh, u))
    # The density of u is N(ρ, ρ); times tanh u (1 − tanh u) it must be odd in u.
    density = sp.exp(-((u - snr) ** 2) / (2 * snr))
    integrand = (tanh - tanh**2) * density
    odd = sp.simplify((integrand + integrand.subs(u, -u)).rewrite(sp.exp))
    second_moment = sp.Symbol("q", positive=True)  # E tanh² u = E tanh u
    expected = sp.expand(slope).subs(tanh**2, second_moment).subs(tanh, second_moment)
    mmse = 1 - second_moment
    return Derivation(
        "I-MMSE, input of ±1",
        (
            ("argument", sp.Eq(u, argument)),
            ("information, nats, inside the mean", snr - potential),
            ("derivative of the argument", chain),
            ("slope, by Stein's lemma, inside the mean", slope),
            (r"even part of $(\tanh u - \tanh^2 u)\, p(u)$", odd),
            (r"slope, with $q$ the mean of $\tanh u$ and of $\tanh^2 u$", expected),
            ("least error", mmse),
        ),
        (expected - mmse / 2) ** 2 + odd**2 + is_derivative**2,
    )


@cache
def spectral_variance() -> Derivation:
    """The exact reverse step for Gaussian data: the posterior's variance plus that of x0 given x_t.

    With any other gain than the ancestral one the same addition keeps the marginal (mathematics
    §6).
    """
    c = a_t / a_s
    marginal_s = a_s**2 * S + sigma_s**2
    marginal_t = a_t**2 * m**2 * S + sigma_t**2
    cross = c * m * marginal_s  # Cov(x_s, x_t)
    joint = sp.Matrix([[marginal_s, cross], [cross, marginal_t]])
    mean, variance = _condition(sp.zeros(2, 1), joint, x_t)
    # The sampler: posterior given x0, with x0 replaced by its Wiener estimate.
    kappa = c * sigma_s**2 / sigma_t**2
    unknown = S - (a_t * m * S) ** 2 / marginal_t  # Var(x0 | x_t)
    through = a_s - kappa * m * a_t * m  # of x0 in the posterior's mean
    known = sigma_s**2 - kappa**2 * sigma_t**2 * m**2
    wiener = a_t * m * S / marginal_t
    factor = through * wiener + kappa * m
    exact = marginal_s * _forward_variance() / marginal_t
    gain = sp.Symbol("k", real=True)
    kept = (a_s - gain * a_t * m) * wiener + gain  # factor of a sampler with this gain
    added = sigma_s**2 - gain**2 * sigma_t**2 + (a_s - gain * a_t * m) ** 2 * unknown
    return Derivation(
        "spectral variance",
        (
            ("variance of the exact reverse step", exact),
            ("unknown of the clean image", sp.simplify(unknown)),
            ("how it enters the mean", sp.simplify(through)),
            ("known-x0 variance", sp.simplify(known)),
            ("factor of the sampler", sp.simplify(factor)),
        ),
        sp.simplify(exact - variance) ** 2
        + sp.simplify(variance - known - through**2 * unknown) ** 2
        + sp.simplify(mean - factor * x_t) ** 2
        + sp.simplify(marginal_s - factor**2 * marginal_t - variance) ** 2
        + sp.simplify(marginal_s - kept**2 * marginal_t - added) ** 2,
    )


@cache
def jump_divergence() -> Derivation:
    """KL(truth ‖ sampler) of a new band, for any data; for Gaussian data with its two limits.

    ``y_H = m x_H + σ ε`` is the truth, and a sampler draws ``m E[x_H | y_L] + σ ε``. The mean of
    minus the sampler's log density contains the squared error of the prediction; that of the truth
    is the entropy ``h(σ ε) + I(x_H; y_H | y_L)`` (mathematics §8).
    """
    sigma, error, information = sp.symbols("sigma e I", positive=True)
    noise_entropy = sp.log(2 * sp.pi * sp.E * sigma**2) / 2
    truth = noise_entropy + information  # h(y_H | y_L), nats
    cross = sp.log(2 * sp.pi * sigma**2) / 2 + (m**2 * error + sigma**2) / (2 * sigma**2)
    general = sp.simplify(sp.expand_log(sp.expand(cross - truth), force=True))
    ratio = sp.Symbol("rho", positive=True)  # m² S / σ², with the small state saying nothing of x_H
    gaussian = (general.subs(information, sp.log(1 + ratio) / 2)).subs(
        error, ratio * sigma**2 / m**2
    )
    gaussian = sp.simplify(gaussian)
    square = sp.Symbol("y2", positive=True)  # y_H², of mean σ² (1 + ρ) in truth
    wide = sigma**2 * (1 + ratio)
    log_ratio = (square / sigma**2 - square / wide - sp.log(1 + ratio)) / 2
    direct = log_ratio.subs(square, wide)
    little = sp.series(gaussian, ratio, 0, 4).removeO()
    share = sp.limit(gaussian / (ratio / 2), ratio, sp.oo)
    return Derivation(
        "what a jump costs",
        (
            ("any data, nats", general),
            ("Gaussian data", gaussian),
            ("for little signal", little),
            ("at most, for any data, as nothing is found in the band", ratio / 2),
            ("Gaussian over that, for much signal", share),
        ),
        (general - (m**2 * error / (2 * sigma**2) - information)) ** 2
        + sp.simplify(direct - gaussian) ** 2
        + (little - (ratio**2 / 4 - ratio**3 / 6)) ** 2
        + (share - 1) ** 2,
    )


@cache
def reverse_water_filling() -> Derivation:
    """With ``λ² = 1 − θ/S`` a state of snr ``1/θ`` attains rate and distortion (mathematics §8)."""
    level = sp.Symbol("theta", positive=True)
    gain = sp.sqrt(1 - level / S)  # λ, above the water level
    seen = sp.simplify(gain**2 * S / level)  # snr λ² S
    rate = sp.log(1 + seen) / 2
    distortion = sp.simplify(S / (1 + seen))
    return Derivation(
        "reverse water-filling",
        (
            ("gain above the level", gain),
            ("signal over noise of the coefficient", seen),
            ("information of the state, nats", rate),
            ("the rate of that component", sp.log(S / level) / 2),
            ("least squared error", distortion),
        ),
        (sp.simplify(1 + seen) - S / level) ** 2 + (distortion - level) ** 2,
    )


@cache
def attenuation_steps() -> Derivation:
    """The gain of attenuation falls as noise grows, so every step is valid (mathematics §8)."""
    tolerance, power, half, level = sp.symbols("tau P q u", positive=True)  # q = p/2
    # With u = snr P/τ the gain is (1 − 1/u)^{p/2} for u > 1.
    gain = (1 - 1 / level) ** half
    slope = sp.simplify(sp.diff(gain, level))
    stated = half * (1 - 1 / level) ** (half - 1) / level**2
    in_snr = gain.subs(level, snr * power / tolerance)
    # A step from snr ρ_s to ρ_t ≤ ρ_s, M = λ_t/λ_s ≤ 1: noise of its own, over σ_t².
    least = _forward_variance() / sigma_t**2
    snr_s, snr_t = a_s**2 / sigma_s**2, a_t**2 / sigma_t**2
    return Derivation(
        "steps of an attenuated chain",
        (
            ("gain", in_snr),
            ("with $u$ the envelope over the water level", gain),
            ("its slope is positive, above the level", stated),
            ("a step's own noise over the state's", 1 - snr_t / snr_s * m**2),
        ),
        sp.simplify(slope / stated - 1) ** 2 + sp.simplify(least - (1 - snr_t / snr_s * m**2)) ** 2,
    )


@cache
def whitened_flow() -> Derivation:
    """The flow ``dz/dγ = x̂0`` in coordinates constant for Gaussian data (mathematics §8)."""
    gamma, state, predicted = sp.symbols("gamma z x", real=True)
    spread = sp.sqrt(1 + gamma**2 * S)
    wiener = gamma * S * state / spread**2
    along = sp.diff(state / spread, gamma) + sp.diff(state / spread, state) * predicted
    alpha = sp.asinh(gamma * sp.sqrt(S))
    slope = sp.simplify(along / sp.diff(alpha, gamma))
    stated = (predicted - wiener) / sp.sqrt(S)
    return Derivation(
        "flow in whitened coordinates",
        (
            ("w", state / spread),
            ("alpha", alpha),
            ("the Wiener filter's prediction", wiener),
            ("dw/d alpha", stated),
        ),
        sp.simplify(slope - stated) ** 2,
    )


DERIVATIONS: dict[str, Callable[[], Derivation]] = {
    function.__name__: function
    for function in (
        forward_marginal,
        posterior,
        validity,
        eta_family,
        matched_noise,
        discarded_information,
        change_divergence,
        i_mmse_gaussian,
        i_mmse_binary,
        spectral_variance,
        jump_divergence,
        reverse_water_filling,
        attenuation_steps,
        whitened_flow,
    )
}
"""All derivations by name, in the order of the page of mathematics."""
