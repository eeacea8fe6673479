"""README.md and CONTRIBUTING.md do what they say: every block runs, every link leads somewhere.

Commands run as they are written, on small images and networks: what takes long is set to few steps.
"""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssd_models import FlexiUNet
from ssd_models.cli import main
from ssd_models.data.photos import PhotoCrops

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "results/README.md",
    "results/jumps.md",
    "figures/README.md",
)
# What keeps each command short, in place of what the page says or besides.
FEW = {
    "train": {"--steps": "3", "--batch-size": "2", "--base-channels": "8"},
    "sample": {"-n": "2", "--steps": "10"},
    "evaluate": {"-n": "24", "--steps": "10"},
    "information": {"--steps": "10"},
    "compare": {"--max-minutes": "0.001"},
}


def blocks(page, language):
    """Fenced blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)


def commands(page):
    """Command lines of a page, comments left out, in order."""
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    parsed = [shlex.split(line, comments=True) for line in lines]
    return [arguments for arguments in parsed if arguments]


def shortened(arguments):
    """Arguments of `ssd`, with what makes them short."""
    arguments = list(arguments)
    for option, value in FEW.get(arguments[0], {}).items():
        if option in arguments:
            arguments[arguments.index(option) + 1] = value
        else:
            arguments += [option, value]
    return arguments


def on_one_process(arguments):
    """A launcher's arguments, for a machine of one process and no GPU."""
    start = arguments.index("-m")
    launcher = " ".join(arguments[:start])
    launcher = re.sub(r"(--nnodes|--nproc-per-node|--num_processes) \d+", r"\1 1", launcher)
    launcher = launcher.replace("--multi_gpu", "--cpu").replace("HOST:29500", "localhost:0")
    module, command = arguments[start : start + 2], arguments[start + 2 :]
    return [*launcher.split(), *module, *shortened(command)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the page's commands find what they name."""
    folder = tmp_path_factory.mktemp("readme")
    crops = PhotoCrops(72, 1100, 0)  # enough for two shards
    animals = ("faces", "animals/cat", "animals/dog")
    with crops.open() as decode:
        for i in range(len(crops)):
            for name in ("images", animals[i % 3] if i < 180 else "faces"):
                path = folder / "path/to" / name / f"{i:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                decode(i).save(path)
    (folder / "samples").mkdir()
    for i in range(24):
        noise = np.random.default_rng(i).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"samples/{i:02d}.png")
    unet = FlexiUNet.from_preset("paper-64", variant="paper", base_channels=32)
    name = "ssd_64res_celeba_4levels_ema_0.9999_1000000.pt"
    torch.save({"model": unet.state_dict()}, folder / name)
    (folder / "results").symlink_to(ROOT / "results")
    return folder


def test_readme_runs_from_top_to_bottom(place, monkeypatch):
    monkeypatch.chdir(place)
    environment = Path(sys.executable).parent
    text = (ROOT / "README.md").read_text()
    for kind, block in re.findall(r"^```(sh|python)\n(.*?)^```", text, re.M | re.S):
        if kind == "python":
            exec(compile(block, "README.md", "exec"), {})
            continue
        for line in block.replace("\\\n", " ").splitlines():
            if not (arguments := shlex.split(line, comments=True)):
                continue
            if arguments[0] == "ssd":
                main(shortened(arguments[1:]))
            elif arguments[0] == "make":
                dry = ["make", "-n", "-C", str(ROOT), *arguments[1:]]
                subprocess.run(dry, check=True, capture_output=True)
            else:
                started = on_one_process(arguments)
                started[0] = str(environment / started[0])
                result = subprocess.run(started, capture_output=True, text=True)
                assert result.returncode == 0, f"{line}\n{result.stderr[-2000:]}"
    for made in ("schedule.png", "samples.png", "run/evaluation.json", "again.json", "celeba.png"):
        assert (place / made).is_file(), made
    assert all((place / f"run{i}/model/model.safetensors").is_file() for i in (8, 9, 10))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("https://"):
            assert (ROOT / page).parent.joinpath(target).exists(), target
    headings = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.M)
    }
    for anchor in re.findall(r"\]\(#([^)]*)\)", text):
        assert anchor in headings


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page, capsys):
    """Commands and their options, make's targets, extras and files that the text mentions."""
    text = (ROOT / page).read_text()
    makefile = (ROOT / "Makefile").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in re.findall(r"scale-space-diffusion\[(\w+)\]", text):
        assert name in extras["optional-dependencies"]
    for code in re.findall(r"`([^`\n]+)`", text):
        words = code.split()
        if words in (["ssd"], ["make"]):
            continue
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.M), code
        elif words[0] == "ssd":
            command = [word for word in words[1:3] if re.fullmatch(r"[a-z-]+", word)]
            options = re.findall(r"(?<!\S)--[\w-]+", code)
            shown = command_help(command[: 2 if words[1] in ("bench", "schedule") else 1], capsys)
            assert all(option in shown for option in options), code
        elif words[0] == "python" or re.fullmatch(r"[\w/]+/[\w.]+\.(py|md|yaml|json)", code):
            path = words[1] if words[0] == "python" else code
            assert (ROOT / path).exists() or (ROOT / page).parent.joinpath(path).exists(), code


def command_help(command, capsys):
    """What ``ssd COMMAND --help`` prints."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out
