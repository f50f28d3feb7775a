"""What is finished of an interrupted run is kept whole or not at all."""

import hashlib
import io

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import StoreError
from engine.parts import written_beside
from engine.store import open_parts
from tests.engine.small_runs import DIGEST, counts, layer_result, manifest

NAMES = ["features.3", "features.3/é", "../../up", "", "a" * 3000, "CON", "Conv", "conv", "x\0y", "a b"]


@pytest.mark.parametrize("name", NAMES)
def test_a_part_of_any_name_comes_back_as_it_was(tmp_path, name):
    parts = open_parts(tmp_path / "store", DIGEST)
    assert name not in parts
    parts.write(name, counts())
    assert name in open_parts(tmp_path / "store", DIGEST)
    xr.testing.assert_identical(parts.read(name), counts())
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_parts_are_listed_replaced_and_discarded(tmp_path):
    parts = open_parts(tmp_path, DIGEST, manifest())
    assert list(parts) == []
    for index, name in enumerate(NAMES):
        parts.write(name, layer_result(index))
    assert sorted(parts) == sorted(NAMES)
    parts.write(NAMES[0], layer_result(99))
    xr.testing.assert_identical(parts.read(NAMES[0]), layer_result(99))
    xr.testing.assert_identical(parts.read(NAMES[1]), layer_result(1))
    parts.discard()
    assert [name for name in NAMES if name in parts] == []
    parts.discard()


def test_parts_of_another_run_are_not_seen(tmp_path):
    open_parts(tmp_path, DIGEST).write("conv1", layer_result(0))
    assert "conv1" not in open_parts(tmp_path, "ba5e" * 16)


@settings(max_examples=100)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_part_with_a_flipped_bit_is_gone(tmp_path_factory, place, bit):
    parts = open_parts(tmp_path_factory.mktemp("store"), DIGEST)
    parts.write("conv1", counts())
    (path,) = parts.folder.glob("*.part")
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    assert "conv1" not in parts
    assert not path.exists()
    with pytest.raises(StoreError, match=r"holds no finished part 'conv1'; compute it again"):
        parts.read("conv1")


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"", lambda content: content[:40]])
def test_a_cut_part_is_gone(tmp_path, damage):
    parts = open_parts(tmp_path, DIGEST)
    parts.write("conv1", counts())
    (path,) = parts.folder.glob("*.part")
    path.write_bytes(damage(path.read_bytes()))
    assert "conv1" not in parts
    parts.write("conv1", counts())
    assert "conv1" in parts


def test_the_part_of_another_layer_is_not_taken_for_this_one(tmp_path):
    parts = open_parts(tmp_path, DIGEST)
    parts.write("conv1", layer_result(1))
    (first,) = parts.folder.glob("*.part")
    parts.write("conv2", layer_result(2))
    (second,) = set(parts.folder.glob("*.part")) - {first}
    second.write_bytes(first.read_bytes())
    assert "conv2" not in parts
    assert list(parts) == ["conv1"]


def test_parts_may_be_as_large_as_a_layer(tmp_path):
    parts = open_parts(tmp_path, DIGEST)
    large = xr.Dataset({"r": (("unit", "site"), np.random.default_rng(0).random((40_000, 50), dtype=np.float32))})
    parts.write("conv1", large)
    xr.testing.assert_identical(parts.read("conv1"), large)


@pytest.mark.parametrize("dtype", ["?", "i2", "i4", "f4", "f8", "U3"])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 0), (5, 3)])
def test_arrays_of_any_kind_come_back_ready_for_use(tmp_path, dtype, shape):
    parts = open_parts(tmp_path, DIGEST)
    values = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    dims = [f"dim{k}" for k in range(len(shape))]
    written = xr.Dataset({name: (dims, np.array(values, order="F")) for name in ("one", "two")})
    parts.write("conv1", written)
    found = parts.read("conv1")
    xr.testing.assert_identical(found, written)
    for array in (found[name].values for name in found):
        assert array.dtype == dtype
        assert array.flags.aligned
        assert not array.flags.writeable


def test_a_part_of_an_earlier_version_is_gone(tmp_path):
    parts = open_parts(tmp_path, DIGEST)
    parts.write("conv1", counts())
    (path,) = parts.folder.glob("*.part")
    about = io.BytesIO()
    np.save(about, np.frombuffer(b'{"name":"conv1","attrs":{},"variables":[]}', np.uint8))
    path.write_bytes(hashlib.sha256(about.getvalue()).digest() + about.getvalue())
    assert "conv1" not in parts


def test_parts_written_beside_other_work_are_all_there_at_its_end(tmp_path):
    parts = open_parts(tmp_path, DIGEST, manifest())
    with written_beside(parts) as write:
        for index, name in enumerate(NAMES):
            write(name, layer_result(index))
    for index, name in enumerate(NAMES):
        xr.testing.assert_identical(parts.read(name), layer_result(index))


@pytest.mark.parametrize("more", [0, 1])
def test_a_part_that_cannot_be_written_beside_other_work_stops_it(tmp_path, more):
    parts = open_parts(tmp_path, DIGEST, manifest())
    unwritable = counts().assign(odd=("odd", np.array([object()])))
    reached = []
    with pytest.raises(StoreError, match="'odd' has dtype object"), written_beside(parts) as write:  # noqa: PT012
        write("first", unwritable)
        for name in ["second", "third"][:more]:
            write(name, counts())
            reached.append(name)
    assert reached == []
    assert "second" not in parts
