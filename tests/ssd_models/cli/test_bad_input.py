"""Whatever is wrong with files, options, places or disks: one line, and nothing is lost.

``python tests/ssd_models/cli/test_bad_input.py`` prints what was tried and the line that each gave.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ssd_models.cli import main
from theory import NoiseSchedule, ResolutionSchedule

SIZE = 16
TINY = [
    *("--steps", "4", "--batch-size", "2", "--base-channels", "8"),
    *("--log-every", "1", "--checkpoint-every", "2"),
]
TRAIN = ["train", "--data", "images", "--schedule", "schedule.json", "-o", "out", *TINY]
RESUME = ["train", "--data", "images", "-o", "run", "--resume", "--steps", "6"]
NOBODY = 65534  # a user without rights, where tests run as root
CHECKPOINT = Path("run/checkpoints/step_0000004")


@dataclass(frozen=True)
class Case:
    """Something wrong: how it comes about, what is called, and words that the line must hold."""

    name: str
    command: list[str]
    said: str
    spoil: Callable[[], object] = lambda: None
    by_nobody: bool = False  # run without rights to what others own
    small_disk: str | None = None  # folder that lies on a disk of 300 KiB


CASES: list[Case] = []


def case(name: str, command: str | list[str], said: str, **options):
    """Register a case; as a decorator, of the function that spoils what was good."""
    words = command.split() if isinstance(command, str) else command

    def register(spoil):
        CASES.append(Case(name, words, said, spoil, **options))

    return register


def plain(name: str, command: str | list[str], said: str, **options):
    case(name, command, said, **options)(lambda: None)


def write(path: str, content: str | bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content.encode() if isinstance(content, str) else content)


def cut(path: str | Path, share: float = 0.5) -> None:
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: int(len(data) * share)])


def change_json(path: str, change: Callable[[dict], object]) -> None:
    content = json.loads(Path(path).read_text())
    change(content)
    Path(path).write_text(json.dumps(content))


# Data

plain("a path that is not there", "spectrum nowhere", "nowhere: cannot be opened")


@case("a file of no known form", "spectrum notes.txt", "is no form of dataset")
def _():
    write("notes.txt", "hello")


@case("an empty folder", "spectrum empty", "holds no images")
def _():
    Path("empty").mkdir()


@case("text named .jpg", ["spectrum", "images", "--resolution", "16"], "7.jpg (not an image)")
def _():
    write("images/7.jpg", "hello")


@case("a truncated PNG", "spectrum images --resolution 16", "0.png (damaged")
def _():
    cut("images/0.png")


@case("an empty image file", TRAIN, "0.png (an empty file)")
def _():
    write("images/0.png", b"")


@case("an image that claims 60,000 px a side", "spectrum images --resolution 16", "px in all")
def _():
    data = bytearray(Path("images/0.png").read_bytes())
    data[16:24] = (60000).to_bytes(4, "big") * 2
    data[29:33] = __import__("zlib").crc32(bytes(data[12:29])).to_bytes(4, "big")
    write("images/0.png", bytes(data))


@case("32-bit samples", "spectrum images --resolution 16", "32-bit samples")
def _():
    Image.fromarray(np.zeros((16, 16), np.float32)).save("images/0.tif")


plain("images smaller than asked for", "spectrum images --resolution 64", "smaller than 64")
plain("a resolution of 0", "spectrum images --resolution 0", "resolution 0: give 1 or more")


@case("the same image again and again", "spectrum same", "same: the images are all the same")
def _():
    Path("same").mkdir()
    for i in range(12):
        shutil.copy("images/0.png", f"same/{i}.png")


@case("a truncated zip", "spectrum images.zip --resolution 16", "not a zip archive")
def _():
    zip_images()
    cut("images.zip")


@case("a zip damaged inside", "spectrum images.zip --resolution 16", "cannot be used")
def _():
    zip_images()
    data = bytearray(Path("images.zip").read_bytes())
    data[200:220] = bytes(20)
    write("images.zip", bytes(data))


@case("a zip without images", "spectrum notes.zip", "holds no images")
def _():
    with zipfile.ZipFile("notes.zip", "w") as archive:
        archive.writestr("notes.txt", "hello")


def zip_images():
    with zipfile.ZipFile("images.zip", "w") as archive:
        for path in sorted(Path("images").iterdir()):
            archive.write(path, path.name)


@case("an array of floats", "spectrum array.npy --resolution 16", "give uint8")
def _():
    np.save("array.npy", np.zeros((4, 16, 16, 3)))


@case("an array with channels first", "spectrum array.npz --resolution 16", "channels last")
def _():
    np.savez("array.npz", images=np.zeros((4, 3, 16, 16), np.uint8))


@case("an archive of arrays that claims 10^12 images", "spectrum array.npz", "claims")
def _():
    header = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": (10**12, 16, 16, 3)}
    np.lib.format.write_array_header_1_0(header, described)
    with zipfile.ZipFile("array.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue())


@case("an array that claims 10^12 images", "spectrum array.npy", "cannot be read as a NumPy")
def _():
    described = {"descr": "|u1", "fortran_order": False, "shape": (10**12, 16, 16, 3)}
    with open("array.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, described)


@case("labels that nest too deeply", [*TRAIN, "--class-conditional"], "nested too deeply")
def _():
    write("images/dataset.json", "[" * 100_000)


for _command in ("spectrum images", "sample run", "evaluate run -n 20", "information run", "demo"):
    plain(f"a seed beyond 64 bits: {_command}", f"{_command} --seed {2**64}", "2^63 - 1")
plain("a seed beyond 64 bits: train", [*TRAIN, "--seed", "9" * 5000], "")
plain("a shard of 5,000 digits", f"spectrum images --shard 1/{'9' * 5000}", "such as 3/16")


@case("a truncated array", "spectrum array.npy --resolution 16", "cannot be read as a NumPy array")
def _():
    np.save("array.npy", np.zeros((4, 16, 16, 3), np.uint8))
    cut("array.npy")


@case("an array of pickled objects", "spectrum array.npy", "cannot be read as a NumPy array")
def _():
    np.save("array.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


@case(
    "fewer labels than images",
    [*TRAIN, "--class-conditional", "--data", "array.npz"],
    "3 labels for 4 images",
)
def _():
    np.savez("array.npz", images=np.zeros((4, 16, 16, 3), np.uint8), labels=np.arange(3))


plain("classes asked for, none there", [*TRAIN, "--class-conditional"], "has no class for every")


@case("a damaged dataset.json", [*TRAIN, "--class-conditional"], "mend or remove it")
def _():
    write("images/dataset.json", '{"labels": [["0.png"')


@case("a label missing", [*TRAIN, "--class-conditional"], "has no label for 11 images")
def _():
    write("images/dataset.json", '{"labels": [["0.png", 0]]}')


@case("a folder that may not be listed", "spectrum images", "cannot be listed", by_nobody=True)
def _():
    Path("images").chmod(0)


@case(
    "an image that may not be read",
    "spectrum images --resolution 16",
    "0.png (Permission denied)",
    by_nobody=True,
)
def _():
    Path("images/0.png").chmod(0)


@case("data larger than the schedule", TRAIN, "reduce them with --resize")
def _():
    for path in Path("images").iterdir():
        Image.open(path).resize((32, 32)).save(path)


@case("a prepared directory not finished", [*TRAIN, "--data", "prepared"], "again to finish it")
def _():
    Path("prepared/prepared.json").rename("prepared/preparing.json")
    change_json("prepared/preparing.json", lambda c: c.update(done=4))


@case("a prepared directory cut short", [*TRAIN, "--data", "prepared"], "is damaged")
def _():
    cut("prepared/images.npy")


@case("a prepared directory without images", [*TRAIN, "--data", "prepared"], "is missing")
def _():
    Path("prepared/images.npy").unlink()


@case("a prepared directory of another format", [*TRAIN, "--data", "prepared"], "prepared/9")
def _():
    change_json("prepared/prepared.json", lambda c: c.update(format="scale-space-prepared/9"))


@case("bytes changed in prepared images", "prepare prepared --verify", "images.npy")
def _():
    data = bytearray(Path("prepared/images.npy").read_bytes())
    data[-1] ^= 1
    write("prepared/images.npy", bytes(data))


plain("one folder for two preparations", "prepare images -o prepared --resolution 8", "resolution")
plain("a prepared size too small", "spectrum prepared --resolution 32", "was prepared at 16 px")
plain("no dataset of that name", "spectrum hf:./nowhere", "hf:./nowhere: there is no file")
plain("an incomplete CelebA", "spectrum celeba:images --resolution 16", "should hold 202599")
plain("an incomplete ImageNet", "spectrum imagenet:images --resolution 16", "should hold 1281167")


# Configuration

plain("an unknown option", [*TRAIN, "--stepz", "3"], "perhaps --steps")
plain("an option of another command", "sample run --calls 3", "misplaced options: --calls 3; see")
plain("a word for a number", [*TRAIN, "--steps", "many"], "invalid literal for int")
plain("no steps", [*TRAIN, "--steps", "0"], "steps 0: must be positive")
plain("a learning rate that is no number", [*TRAIN, "--learning-rate", "nan"], "must be positive")
plain("a share above one", [*TRAIN, "--ema-decay", "1.5"], "must lie in [0, 1)")
plain("no time", [*TRAIN, "--max-minutes", "0"], "max_minutes 0.0: must be positive")
plain("an unknown network", [*TRAIN, "--network", "huge"], "huge")
plain("channels that do not divide", [*TRAIN, "--base-channels", "7"], "7")
plain("no configuration file", [*TRAIN, "--config", "c.yaml"], "no such configuration file")


@case("a configuration that is not YAML", [*TRAIN, "--config", "c.yaml"], "is not YAML")
def _():
    write("c.yaml", "a: [")


@case("a configuration with no such date", [*TRAIN, "--config", "c.yaml"], "is not YAML")
def _():
    write("c.yaml", "x: 2020-13-45")


@case("a configuration too deep", [*TRAIN, "--config", "c.yaml"], "is not YAML")
def _():
    write("c.yaml", 2000 * "{")


@case("a configuration in bytes", [*TRAIN, "--config", "c.yaml"], "is not YAML")
def _():
    write("c.yaml", b"\xff\xfe\x00")


@case("an unknown field", [*TRAIN, "--config", "c.yaml"], "unknown option 'stepz'")
def _():
    write("c.yaml", "stepz: 3")


@case("a field of a wrong type", [*TRAIN, "--config", "c.yaml"], "seed cannot be 'x'")
def _():
    write("c.yaml", "seed: x")


# Schedules and spectra


@case("no schedule", TRAIN, "schedule.json")
def _():
    Path("schedule.json").unlink()


@case("a schedule that is a folder", TRAIN, "schedule.json")
def _():
    Path("schedule.json").unlink()
    Path("schedule.json").mkdir()


@case("a truncated schedule", TRAIN, "schedule.json")
def _():
    cut("schedule.json")


@case("a schedule of another format", TRAIN, "scale-space-schedule/9")
def _():
    change_json("schedule.json", lambda c: c.update(format="scale-space-schedule/9"))


@case("a schedule without noise", TRAIN, "sigma")
def _():
    change_json("schedule.json", lambda c: c.pop("sigma"))


@case("a schedule with a step too few", TRAIN, "alpha")
def _():
    change_json("schedule.json", lambda c: c["alpha"].pop())


@case("a growing resolution", TRAIN, "must not be larger")
def _():
    change_json("schedule.json", lambda c: c["resolutions"].__setitem__(-1, 16))


@case("amplitudes off the circle", TRAIN, "alpha")
def _():
    change_json("schedule.json", lambda c: c["alpha"].__setitem__(3, 0.9))


@case("words for resolutions", TRAIN, "resolutions")
def _():
    change_json("schedule.json", lambda c: c.update(resolutions=["a"] * 100))


@case("levels that are no halvings", TRAIN, "are not 16 halved")
def _():
    save_schedule((16, 12))


@case("a level below the network's smallest", TRAIN, "below the network's smallest")
def _():
    save_schedule((16, 1))


def save_schedule(levels, change=40):
    ResolutionSchedule.from_noise(
        np.repeat(levels, [change, 100 - change]),
        NoiseSchedule.linear(100),
        levels=levels,
        operator="dct",
    ).save("schedule.json")


@case("a truncated spectrum", "derive spectrum.npz", "spectrum.npz")
def _():
    main(["spectrum", "images", "--resolution", "16"])
    cut("spectrum.npz")


@case("an .npz that is no spectrum", "derive spectrum.npz", "spectrum.npz")
def _():
    np.savez("spectrum.npz", a=np.zeros(3))


# Runs and checkpoints

plain("a run directory in use", [*TRAIN, "-o", "run"], "exists and is not empty")
plain("no run to resume", [*RESUME, "-o", "nowhere"], "no such run directory")


plain("a folder that is no run", [*RESUME, "-o", "images"], "config.yaml")


@case("truncated weights", RESUME, "step_0000004: cannot be resumed")
def _():
    cut(CHECKPOINT / "weights.safetensors")


@case("truncated averaged weights", RESUME, "remove this folder to go on from step_0000002")
def _():
    cut(CHECKPOINT / "model/model.safetensors")


@case("a truncated optimizer", RESUME, "step_0000004: cannot be resumed")
def _():
    cut(CHECKPOINT / "optimizer.pt")


class Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


@case("code in the optimizer's file", RESUME, "step_0000004: cannot be resumed")
def _():
    torch.save({"state": Attack()}, CHECKPOINT / "optimizer.pt")


@case("no weights", RESUME, "step_0000004: cannot be resumed")
def _():
    (CHECKPOINT / "weights.safetensors").unlink()


@case("weights of another network", RESUME, "step_0000004: cannot be resumed")
def _():
    weights = load_file(CHECKPOINT / "weights.safetensors")
    save_file({k: torch.zeros(3) for k in weights}, CHECKPOINT / "weights.safetensors")


@case("no state", RESUME, "state.json")
def _():
    (CHECKPOINT / "state.json").unlink()


@case("a damaged state", RESUME, "step_0000004: cannot be resumed")
def _():
    write(str(CHECKPOINT / "state.json"), "{")


@case("a state without its step", RESUME, "lacks 'step'")
def _():
    change_json(str(CHECKPOINT / "state.json"), lambda c: c.pop("step"))


METRICS = "run/metrics.jsonl"


@case("a damaged line of the log", RESUME, "metrics.jsonl: line 2 is damaged (")
def _():
    lines = Path(METRICS).read_bytes().split(b"\n")
    lines[1] = b"\x00" + lines[1][:9] + b"\xff"
    write(METRICS, b"\n".join(lines))


@case("a line of the log without its step", RESUME, "line 1 is damaged (lacks the entries step)")
def _():
    write(METRICS, b"{}\n" + Path(METRICS).read_bytes())


plain("another seed", [*RESUME, "--seed", "3"], "seed: 0 -> 3")


@case("an image more", RESUME, "12 images")
def _():
    Image.new("RGB", (16, 16)).save("images/99.png")


@case("another schedule", RESUME, "schedule:")
def _():
    save_schedule((16, 8), change=50)
    shutil.copy("schedule.json", "run/schedule.json")


@case("a damaged configuration of the run", RESUME, "config.yaml")
def _():
    write("run/config.yaml", "steps: [")


@case("a damaged schedule of the run", RESUME, "run/schedule.json")
def _():
    cut("run/schedule.json")


@case("a run without its model", "sample run -n 1", "run")
def _():
    shutil.rmtree("run/model")


@case("a truncated model", "sample run -n 1", "model")
def _():
    cut("run/model/model.safetensors")


@case("a damaged configuration of the model", "sample run -n 1", "the model cannot be loaded")
def _():
    write("run/model/config.json", "{")


plain("nothing to evaluate", "evaluate nowhere --data images", "no such run, model or images")
plain("a run without held-out images", "information run", "holds out none of the 12 images")
plain("too few images to evaluate", "evaluate images --data images", "needs at least 20 generated")


@case("a run to evaluate without its model", "evaluate run", "run/model: the run has no model yet")
def _():
    shutil.rmtree("run/model")


@case(
    "code in weights",
    "evaluate run --inception weights.pth",
    "weights.pth: is no file of weights",
)
def _():
    torch.save({"state": Attack()}, "weights.pth")


plain("no public checkpoint", "import-official c.pt -o out", "c.pt: no such file")


@case("a public checkpoint with code in it", "import-official c.pt -o out --levels 2", "c.pt")
def _():
    with open("c.pt", "wb") as file:
        pickle.dump({"model": Attack()}, file)


# Places


@case("an output below a file", [*TRAIN, "-o", "notes.txt/run"], "is not a folder")
def _():
    write("notes.txt", "hello")


@case("an output that is a folder", "spectrum images --resolution 16 -o x.npz", "is a folder")
def _():
    Path("x.npz").mkdir()


plain("no right to write a run", [*TRAIN, "-o", "images/run"], "no permission in", by_nobody=True)
plain(
    "no right to write a spectrum",
    "spectrum images --resolution 16 -o images/x.npz",
    "no permission in",
    by_nobody=True,
)


plain("a disk full at a checkpoint", [*TRAIN, "-o", "disk/run"], "disk", small_disk="disk")


@case(
    "a disk full for prepared images",
    "prepare images -o disk/prepared --resolution 16 --workers 1",
    "disk/prepared",
    small_disk="disk",
)
def _():
    write("disk/filling", bytes(300 * 1024 - 16384))


plain("a preset of another size", [*TRAIN, "--preset", "celeba-64"], "has resolution 16")


plain("an unknown preset", [*TRAIN, "--preset", "celeba-7"], "choose from celeba-64")


@case(
    "a disk full for a spectrum",
    "spectrum images --resolution 16 -o disk/x.npz",
    "disk/x.npz",
    small_disk="disk",
)
def _():
    write("disk/filling", bytes(300 * 1024 - 8192))


# How they are tried


def make(folder: Path) -> None:
    """What is good: images, a schedule, and a run of four steps."""
    with contextlib.chdir(folder):
        Path("images").mkdir()
        rng = np.random.default_rng(0)
        for i in range(12):
            values = rng.integers(0, 256, size=(4, 4, 3), dtype=np.uint8)
            Image.fromarray(values).resize((SIZE, SIZE)).save(f"images/{i}.png")
        save_schedule((16, 8))
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            main([*TRAIN, "-o", "run"])
            main(["prepare", "images", "-o", "prepared", "--resolution", "16", "--workers", "1"])


def contents() -> dict[str, bytes | None]:
    return {
        str(path): path.read_bytes() if path.is_file() else None
        for path in sorted(Path().rglob("*"))
        if "tfevents" not in path.name
    }


def call(arguments: list[str]) -> tuple[int, str]:
    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        try:
            main(arguments)
        except SystemExit as left:
            return int(left.code or 0), error.getvalue()
    return 0, error.getvalue()


@contextlib.contextmanager
def nobody():
    """Without rights to what others own, where tests run as root."""
    if os.getuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def try_case(which: Case, good: Path, place: Path) -> str:
    """Spoil a copy of what is good, call, and check; returns the line that was given."""
    shutil.copytree(good, place, dirs_exist_ok=True)
    place.chmod(0o777)
    with contextlib.chdir(place), contextlib.ExitStack() as stack:
        if which.small_disk is not None:
            Path(which.small_disk).mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", which.small_disk]
            if subprocess.run(mount, capture_output=True).returncode:
                pytest.skip("no small disk can be made here")
            stack.callback(subprocess.run, ["umount", "--lazy", which.small_disk], check=True)
        which.spoil()
        before = contents()
        with nobody() if which.by_nobody else contextlib.nullcontext():
            code, error = call(list(which.command))
        after = contents()
    lines = [line for line in error.replace("\r", "\n").splitlines() if "ssd: error" in line]
    assert code == 2, error
    assert len(lines) == 1, error
    assert "Traceback" not in error, error
    line = lines[0].removeprefix("ssd: error: ")
    assert which.said in line, line
    lost = [name for name, content in before.items() if after.get(name, b"gone") != content]
    assert not lost, f"changed: {lost}"
    new = set(after) - set(before)
    if which.small_disk is None:
        assert not new, f"left behind: {new}"
    assert not any(".partial" in name for name in new), new
    return line


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    make(folder)
    return folder


@pytest.mark.parametrize("which", CASES, ids=lambda which: which.name)
def test_bad_input_gives_one_line(which, good, tmp_path):
    for parent in [tmp_path, *tmp_path.parents]:
        if "pytest" in str(parent):  # another user must come to it
            parent.chmod(0o755)
    try_case(which, good, tmp_path)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        good_folder = Path(folder, "good")
        good_folder.mkdir()
        make(good_folder)
        print("| tried | line |\n| --- | --- |")
        for i, each in enumerate(CASES):
            print(f"| {each.name} | {try_case(each, good_folder, Path(folder, str(i)))} |")
