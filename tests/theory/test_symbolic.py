"""The symbolic derivations hold, and say what the numbers say."""

import re

import numpy as np
import pytest
import sympy as sp

from theory import (
    NoiseSchedule,
    ResolutionSchedule,
    Spectrum,
    change_divergence,
    discarded_information,
)
from theory.information.mmse import binary_mmse
from theory.schedule.attenuation import Attenuation
from theory.symbolic import DERIVATIONS, Derivation, S, a_s, a_t, m, sigma_s, sigma_t, snr, x0, x_t

VALUES = {a_s: 0.9, a_t: 0.6, sigma_s: 0.436, sigma_t: 0.8, m: 0.5, x0: 0.7, x_t: -0.2, S: 3.0}
NAMES = [name for name in DERIVATIONS if name != "i_mmse_binary"]


def step(name, label):
    return dict(DERIVATIONS[name]().steps)[label]


@pytest.mark.parametrize("name", DERIVATIONS)
def test_the_derivation_ends_in_its_identity(name):
    derivation = DERIVATIONS[name]()
    assert derivation.holds()
    assert derivation.identity.free_symbols or derivation.identity == 0


@pytest.mark.parametrize("name", DERIVATIONS)
def test_it_prints_as_latex(name):
    latex = DERIVATIONS[name]().latex()
    assert latex.startswith(r"\begin{aligned}")
    assert latex.endswith(r"\end{aligned}")
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\left") == latex.count(r"\right")
    assert DERIVATIONS[name]()._repr_latex_().startswith("$$")
    for label, line in DERIVATIONS[name]().steps:
        assert label.isascii()  # TeX's text mode has no others without packages
        assert label.count("$") % 2 == 0
        # What is no plain symbol with an index, sympy prints as something else.
        assert all(re.fullmatch(r"[A-Za-z]+(_[A-Za-z0]+)?", s.name) for s in line.free_symbols)


def test_a_wrong_identity_does_not_hold():
    assert not Derivation("wrong", (), sp.sin(snr) ** 2 + sp.cos(snr) ** 2 - 2).holds()


def test_the_posterior_is_dense_conditioning():
    v = VALUES
    c = v[a_t] / v[a_s]
    cross = c * v[m] * v[sigma_s] ** 2
    gain = cross / v[sigma_t] ** 2
    mean = v[a_s] * v[x0] + gain * (v[x_t] - c * v[m] * v[a_s] * v[x0])
    assert float(step("posterior", "conditional mean").subs(v)) == pytest.approx(mean)
    variance = v[sigma_s] ** 2 - gain * cross
    assert float(step("posterior", "conditional variance").subs(v)) == pytest.approx(variance)
    exact = np.array(
        [
            [v[a_s] ** 2 * 3 + v[sigma_s] ** 2, c * v[m] * (v[a_s] ** 2 * 3 + v[sigma_s] ** 2)],
            [0, v[a_t] ** 2 * v[m] ** 2 * 3 + v[sigma_t] ** 2],
        ]
    )
    left = exact[0, 0] - exact[0, 1] ** 2 / exact[1, 1]
    label = "variance of the exact reverse step"
    assert float(step("spectral_variance", label).subs(v)) == pytest.approx(left)


def test_the_formulas_are_the_packages():
    power = np.zeros((2, 2, 1))
    power[0, 0], power[1, 1] = 2.0, 0.5
    zeros = np.zeros_like(power)
    spectrum = Spectrum(power, zeros, np.eye(1), 0, zeros)
    values = {"S_L": 2.0, "S_H": 0.5, "r": 0.0, "rho": 3.0}

    def evaluate(expression):
        return float(expression.subs({s: values[s.name] for s in expression.free_symbols}))

    exact = evaluate(step("discarded_information", "discarded, exactly")) / np.log(2)
    assert exact == pytest.approx(discarded_information(spectrum, 3.0, 1))
    values["r"] = 0.8
    correlated = evaluate(step("discarded_information", "discarded, exactly"))
    assert correlated < evaluate(step("discarded_information", "bound"))
    covariance = np.array([[2.0, 0.8], [0.8, 0.5]])
    expected = np.log(np.linalg.det(np.eye(2) + 3 * covariance) / (1 + 3 * 2.0)) / 2
    assert correlated == pytest.approx(expected)


def test_the_divergence_at_a_change_by_quadrature():
    from scipy.integrate import quad

    truth = 1.7
    density = lambda x, v: np.exp(-x * x / (2 * v)) / np.sqrt(2 * np.pi * v)  # noqa: E731
    value = quad(
        lambda x: density(x, 1) * np.log(density(x, 1) / density(x, truth)), -20, 20, limit=200
    )[0]
    stated = step("change_divergence", "its mean over generated values")
    assert float(stated.subs({snr: 0.7})) == pytest.approx(value, rel=1e-6)
    series = float(step("change_divergence", "for little signal").subs({snr: 0.01}))
    assert series == pytest.approx(float(stated.subs({snr: 0.01})), rel=1e-4)


def test_jumps_and_attenuation_are_the_packages():
    power = np.zeros((2, 2, 1))
    power[0, 0], power[1, 1] = 2.0, 0.5
    zeros = np.zeros_like(power)
    spectrum = Spectrum(power, zeros, np.eye(1), 0, zeros)
    noise = NoiseSchedule(np.array([0.6, 0.5]))
    jump = ResolutionSchedule.from_noise(np.array([2, 1]), noise)
    (found,) = change_divergence(jump, spectrum)
    values = {snr: 0.5 * noise.snr[0]}
    gaussian = float(step("jump_divergence", "Gaussian data").subs(values))
    assert found.gaussian == pytest.approx(gaussian)
    bound = step("jump_divergence", "at most, for any data, as nothing is found in the band")
    assert found.bound == pytest.approx(float(bound.subs(values)))
    gain = step("reverse_water_filling", "gain above the level")
    expected = float(gain.subs({S: 2.0, sp.Symbol("theta", positive=True): 1.5}))
    assert Attenuation(1.0, 1.0, [0.0], [2.0]).gain(1 / 1.5, 2.0) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.3, 1.0, 4.0])
def test_the_binary_input_by_quadrature(value):
    """What the derivation uses of symmetry: E tanh u = E tanh² u."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    u = value + np.sqrt(value) * nodes
    mean, square = ((np.tanh(u) ** k * weights).sum() / weights.sum() for k in (1, 2))
    assert mean == pytest.approx(square, abs=1e-7)
    assert binary_mmse(value) == pytest.approx(1 - mean, abs=1e-9)
