"""A dataset comes back from its bytes as it was, and what could not is refused."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from engine.encoding import CHUNK_BYTES, as_json, canonical_json, decode_bytes, encode
from engine.errors import StoreError
from tests.engine.small_runs import counts, recording

TEXT = st.text(st.characters(), max_size=8)


@pytest.mark.parametrize("dataset", [recording(), counts(), xr.Dataset()], ids=["recording", "counts", "empty"])
def test_every_kind_of_variable_comes_back_as_it_was(dataset):
    back = decode_bytes(encode(dataset))
    xr.testing.assert_identical(back, dataset)
    assert [*back.variables] == [*dataset.variables]
    kinds = {name: variable.dtype.kind for name, variable in dataset.variables.items()}
    assert {name: variable.dtype.kind for name, variable in back.variables.items()} == kinds


@settings(max_examples=60)
@given(values=st.lists(TEXT, min_size=1, max_size=12), as_objects=st.booleans())
def test_text_comes_back_from_variables_coordinates_and_indexes(values, as_objects):
    if not as_objects:
        values = [value.rstrip("\0") for value in values]  # numpy's own text type cannot hold trailing NULs
    array = np.array(values, dtype=object if as_objects else "U")
    ids = np.array([f"{i}{value}" for i, value in enumerate(array)], dtype=array.dtype if as_objects else "U")
    dataset = xr.Dataset({"word": ("id", array), "one": ((), values[0])}, {"id": ids, "label": ("id", array)})
    back = decode_bytes(encode(dataset))
    for name in ("word", "one", "id", "label"):
        assert back[name].values.tolist() == dataset[name].values.tolist()
        assert back[name].dtype.kind == dataset[name].dtype.kind
    assert back.sel(id=ids[-1])["word"].item() == array[-1]


@settings(max_examples=60)
@given(
    values=st.sampled_from(["f2", "f4", "f8", "i1", "i8", "u1", "u8", "?", "c8"]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
    )
)
def test_numbers_come_back_bit_for_bit(values):
    dims = [f"dim{i}" for i in range(values.ndim)]
    back = decode_bytes(encode(xr.Dataset({"number": (dims, values)})))["number"].values
    assert (back.dtype, back.shape, back.tobytes()) == (values.dtype, values.shape, values.tobytes())


def test_equal_datasets_have_equal_bytes_whatever_they_were_read_from():
    dataset = counts()
    assert encode(dataset) == encode(counts()) == encode(decode_bytes(encode(dataset)))


def test_attributes_that_look_like_times_change_nothing():
    dataset = xr.Dataset({"latency": ("site", [1, 2], {"units": "seconds", "calendar": "no"})}, attrs={"units": "days"})
    xr.testing.assert_identical(decode_bytes(encode(dataset)), dataset)


def test_chunks_that_hold_only_zeros_or_nan_are_written():
    files = encode(xr.Dataset({"zero": ("a", np.zeros(9)), "nan": ("a", np.full(9, np.nan)), "no": ("a", [False] * 9)}))
    assert {"zero/c/0", "nan/c/0", "no/c/0"} <= files.keys()


def test_a_large_variable_is_cut_along_its_first_dim():
    files = encode(xr.Dataset({"map": (("feature_map", "site"), np.zeros((3 * CHUNK_BYTES // 1024, 128)))}))
    assert [name for name in files if name.startswith("map/c")] == ["map/c/0/0", "map/c/1/0", "map/c/2/0"]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (xr.Dataset({"word": ("a", np.array(["b", None], dtype=object))}), "'word' mixes text with nan; write ''"),
        (xr.Dataset({"day": ("a", np.array(["2018-01-01"], "M8[ns]"))}), "'day' has dtype datetime64"),
        (xr.Dataset({"wide": ("a", np.zeros(2, np.longdouble))}), "'wide' has dtype float128"),
        (xr.Dataset({"../up": ("a", [1])}), "'../up': the store takes names of letters"),
        (xr.Dataset({"a/b": ("a", [1])}), "'a/b': the store takes names of letters"),
        (
            xr.Dataset(attrs={"made": {"by": [object()]}}),
            r"attributes\['made'\]\['by'\]\[0\] is of type object; the store",
        ),
        (xr.Dataset({"n": ("a", [1], {"of": {1}})}), r"attributes of 'n'\['of'\] is of type set"),
    ],
)
def test_what_would_not_come_back_is_refused_by_name(dataset, message):
    with pytest.raises(StoreError, match=message):
        encode(dataset)


def test_json_is_plain_and_the_same_for_the_same_content():
    content = {"b": (np.float32(0.5), np.arange(2)), "a": np.bool_(True)}
    assert canonical_json(as_json(content, "x")) == b'{"a":true,"b":[0.5,[0,1]]}'
