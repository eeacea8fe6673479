"""Files that claim what they do not hold are refused before memory is taken."""

import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import refusal

from theory import NoiseSchedule, ResolutionSchedule, Spectrum
from theory.support.reading import npz_names, parse_json, read_npz

NESTED = "[" * 100_000


def claiming_npz(path: Path, shape: tuple[int, ...], name: str = "images") -> Path:
    """An ``.npz`` of a few bytes whose header claims an array of uint8 of that shape."""
    header = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.npy", header.getvalue() + bytes(10))
    return path


def test_arrays_are_read_as_numpy_writes_them(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array("text"), "c": np.zeros((0, 4))}
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "x.npz", **arrays)
        found = read_npz(tmp_path / "x.npz")
        assert npz_names(tmp_path / "x.npz") == list(found) == ["a", "b", "c"]
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
        assert list(read_npz(tmp_path / "x.npz", ["b"])) == ["b"]


def test_more_zeros_than_memory_would_hold_are_no_claim_that_compression_allows(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(50_000_000, np.uint8))
    assert read_npz(tmp_path / "x.npz")["a"].shape == (50_000_000,)


@pytest.mark.parametrize("shape", [(10**12, 64, 64, 3), (10**30,), (11,), (9,)])
def test_an_array_that_claims_other_than_it_holds_is_refused_without_its_memory(shape, tmp_path):
    path = claiming_npz(tmp_path / "x.npz", shape)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"images\.npy claims"):
        read_npz(path)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_npz(tmp_path / "x.npz")


def test_deep_nesting_is_no_json():
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(NESTED)


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ("[]", "meta is no object"),
        ("3", "meta is no object"),
        (NESTED, "nested too deeply"),
        ('{"format": "scale-space-spectrum/1", "skipped": "two"}', "meta has skipped 'two'"),
        ('{"format": "scale-space-spectrum/1", "shard": 3}', "meta has shard 3"),
        ('{"format": "scale-space-spectrum/1", "source": []}', r"meta has source \[\]"),
    ],
)
def test_a_spectrum_with_other_notes_is_refused(meta, said, tmp_path):
    path = tmp_path / "s.npz"
    Spectrum.power_law(8, 2.0).save(path)
    np.savez(path, **{**read_npz(path), "meta": np.array(meta)})
    with pytest.raises(ValueError, match=said):
        Spectrum.load(path)
    refusal(lambda: Spectrum.load(path))


def test_a_spectrum_that_claims_a_terabyte_is_refused(tmp_path):
    path = claiming_npz(tmp_path / "s.npz", (10**12,), "power")
    assert "claims 1000000000000 bytes" in refusal(lambda: Spectrum.load(path))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"levels": [16, 8.5]}, "levels [16, 8.5]: must be a list of whole numbers"),
        ({"levels": [16, "8"]}, "levels[1]: must be a number"),
        ({"derivation": {"plan": [1]}}, "plan: must be an object"),
        ({"derivation": {"plan": {"steps": 3}}}, "plan: steps: must be a list"),
        ({"derivation": {"plan": {"steps": [0.5]}}}, "steps[0]: must be a whole number, not 0.5"),
        ({"alpha": [10**400] * 50}, "alpha[0]: must be a number"),  # that a float can hold
        ({"operator": []}, "operator: must be a text, not []"),
        ({"derivation": {"plan": {"changes": []}}}, "plan: changes: must be a text"),
        ({"derivation": {"source": 3}}, "derivation: source: must be a text"),
        ({"derivation": []}, "derivation: must be an object"),
    ],
)
def test_a_schedule_of_other_kinds_is_refused(change, said, tmp_path):
    path = tmp_path / "s.json"
    ResolutionSchedule.full_resolution(16, NoiseSchedule.linear(50)).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert said in refusal(lambda: ResolutionSchedule.load(path))


def test_a_deeply_nested_schedule_is_refused(tmp_path):
    (tmp_path / "s.json").write_text(NESTED)
    assert "nested too deeply" in refusal(lambda: ResolutionSchedule.load(tmp_path / "s.json"))
