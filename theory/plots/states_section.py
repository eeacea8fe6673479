"""The part of a page that shows states of a chain, step by step, by a slider."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..information.bounds import channel_bits
from ..schedule.resolution import ResolutionSchedule
from ..spectrum.spectrum import Spectrum
from . import html
from .shown_states import gaussian_draws, lifted, noisy_state, shown_state, shown_steps, to_uint8

SHOWN_IMAGES = 4  # at most
_NOISY_QUALITY = 50  # of JPEG: noise takes many bytes, and hides what is lost
_BUDGET = 2_400_000  # characters that pictures of states may take

STYLE = """
.slider { display: flex; gap: .4rem 1rem; align-items: center; flex-wrap: wrap;
  position: sticky; top: 0; z-index: 1; background: var(--paper); padding: .4rem 0; }
.slider input[type=range] { flex: 1 1 14rem; accent-color: var(--accent); }
.slider output { font-weight: 600; min-width: 5.5rem; }
"""

SCRIPT = """
const states = JSON.parse(document.getElementById("states-data").textContent);
const slider = document.getElementById("step"), enlarge = document.getElementById("enlarge");
function show(index) {
  slider.value = index;
  const state = states[index];
  for (const kind of ["full", "small"]) {
    document.getElementById(kind + "-note").textContent = state[kind + "_label"];
    document.querySelectorAll("img." + kind).forEach((image, i) => {
      image.src = state[kind][i];
      const share = enlarge.checked ? 1 : state[kind + "_side"] / state.full_side;
      image.style.width = 100 * share + "%";
    });
  }
  document.getElementById("step-label").textContent = "step " + state.t;
}
function follow() {
  const asked = /^#t=(\\d+)$/.exec(location.hash);
  if (!asked) return;
  const away = states.map(state => Math.abs(state.t - asked[1]));
  show(away.indexOf(Math.min(...away)));
}
slider.addEventListener("input", () => {
  show(+slider.value);
  history.replaceState(null, "", "#t=" + states[slider.value].t);
});
enlarge.addEventListener("change", () => show(+slider.value));
addEventListener("hashchange", follow);
show(+slider.value);
follow();
"""


def states_section(
    schedule: ResolutionSchedule,
    spectrum: Spectrum,
    bits: np.ndarray,
    images: np.ndarray | None,
    source: str,
) -> str:
    """Slider over steps with full-resolution states, those of the schedule, and clean images.

    Parameters
    ----------
    schedule : ResolutionSchedule
    spectrum : Spectrum
        Of the data, at the schedule's full resolution.
    bits : (T,) float64
        The most that the schedule's states hold, `theory.information.schedule_information`.
    images : (N, R, R, C) float array in [-1, 1] or None
        None shows draws of the Gaussian field of the spectrum.
    source : str
        Where the images come from.

    Returns
    -------
    str
        HTML, for a page with `STYLE` and `SCRIPT`. ``#t=500`` in the page's address shows the step
        nearest to 500.
    """
    if images is None:
        clean, what = gaussian_draws(spectrum, SHOWN_IMAGES), "Clean draws of the Gaussian field"
        origin = (
            "No images were given, so these are draws of the Gaussian field of the spectrum: they "
            "have the data's power at each frequency, and none of its shapes. The option --images "
            "shows real ones."
        )
    else:
        clean, what = images[:SHOWN_IMAGES], "Clean images"
        origin = f"Images from {source or 'the data'}."
    holds = (
        "all of the signal that is left in the large one"
        if schedule.is_lossless
        else "the large one's low frequencies"
    )
    lead = f"{origin} Both states of a step have the same noise; the small one holds {holds}."
    states = _labels(schedule, spectrum, bits)
    uris = _add_pictures(states, schedule, clean)
    first = min(schedule.changes, default=states[len(states) // 2]["t"])
    start = next(i for i, state in enumerate(states) if state["t"] == first)
    shown, size = states[start], f"{schedule.resolution} × {schedule.resolution} px"
    columns = min(2, len(uris))
    blocks = [
        html.gallery(kind, title, shown[f"{kind}_label"], shown[kind], columns)
        for kind, title in (
            ("full", "State at full resolution"),
            ("small", "State of the schedule"),
        )
    ]
    blocks.append(html.gallery("clean", what, size, uris, columns))
    return f"""{html.paragraph(lead)}
<div class="slider">
<input type="range" id="step" aria-label="Step of the chain" autocomplete="off"
 min="0" max="{len(states) - 1}" value="{start}">
<output id="step-label" for="step">step {shown["t"]}</output>
<label><input type="checkbox" id="enlarge" checked autocomplete="off"> enlarge small states</label>
</div>
{html.blocks(blocks)}
{html.inline_json("states-data", states)}"""


def _labels(
    schedule: ResolutionSchedule, spectrum: Spectrum, bits: np.ndarray
) -> list[dict[str, Any]]:
    """What is said of each state that is shown, and its numbers."""
    full, found = lifted(schedule), []
    for t in shown_steps(schedule):
        power = full.signal_gains(t)[:, :, None] ** 2 * spectrum.power
        known = float(channel_bits(power, float(1 / full.sigma[t] ** 2)))
        kinds = {
            "full": (schedule.resolution, full.snr[t], known),
            "small": (int(schedule.resolutions[t]), schedule.snr[t], bits[t]),
        }
        state: dict[str, Any] = {"t": t}
        for kind, (side, snr, held) in kinds.items():
            state |= {f"{kind}_side": side, f"{kind}_snr": float(snr), f"{kind}_bits": float(held)}
            state[f"{kind}_label"] = (
                f"{side} × {side} px, snr {html.number(snr)} "
                f"({html.decibels(10 * np.log10(snr))}), at most {held:,.4g} bits an image"
            )
        found.append(state)
    return found


def _add_pictures(
    states: list[dict[str, Any]], schedule: ResolutionSchedule, clean: np.ndarray
) -> list[str]:
    """Add to each state its pictures of as many images as fit; returns the clean images."""
    chains, draws = {"full": lifted(schedule), "small": schedule}, np.random.default_rng(0)
    uris: list[str] = []
    size = 0
    for image in clean:
        noise = draws.standard_normal(image.shape)
        links: dict[str, list[str]] = {}
        for kind, chain in chains.items():
            made = [(noisy_state(chain, image, noise, state["t"]), state["t"]) for state in states]
            links[kind] = [html.data_uri(shown_state(chain, x, t), _NOISY_QUALITY) for x, t in made]
            size += sum(map(len, links[kind]))
        if uris and size > _BUDGET:
            break
        uris.append(html.data_uri(to_uint8(image)))
        for kind, found in links.items():
            for state, link in zip(states, found, strict=True):
                state.setdefault(kind, []).append(link)
    return uris
