import numpy as np
import pandas as pd
import pytest
import xarray as xr

from engine.errors import RecordingError, StimulusMismatchError
from engine.identifiers import are_related, natural_order, require_ids, require_same_ids


@pytest.mark.parametrize(
    "ids",
    [
        ["b", "a"],
        ("b", "a"),
        np.array(["b", "a"]),
        pd.Index(["b", "a"]),
        xr.DataArray(["b", "a"]),
        np.array(["b", "a"], object),
    ],
    ids=["list", "tuple", "array", "index", "data array", "objects"],
)
def test_ids_of_any_container_become_plain_text_in_their_order(ids):
    names = require_ids(ids, "stimulus", "mine")
    assert names == ("b", "a")
    assert {type(name) for name in names} == {str}


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        ("im1", r"mine: stimulus ids must be a list of text, got one text 'im1'; write \['im1'\]"),
        (["im1", 2, 3.0], r"must be text, but 2 of 3 are not: id 1 is 2 \(int\)\..*dtype=str, keep_default_na=False"),
        (np.arange(3), r"must be text, but 3 of 3 are not: id 0 is np.int64\(0\)"),
        (["im1", None], r"id 1 is None \(NoneType\)"),
        ([b"im1"], r"id 0 is b'im1' \(bytes\)"),
        (
            ["im1", " im2", "im3\n", ""],
            r"3 of 4 stimulus ids are empty or start or end with white space, first ' im2', ",
        ),
        (["im1", "i\0m2"], r"1 of 2 stimulus ids hold control characters or broken Unicode, first 'i\\x00m2'"),
        (["im1", "\ud800"], "control characters or broken Unicode"),
        (["a", "b", "a", "c", "c"], r"mine: 4 of 5 stimulus ids occur more than once, first 'a', 'c'\. .* rename them"),
        (["caf\u00e9", "cafe\u0301"], r"2 of 2 stimulus ids differ only in their Unicode normalisation, first"),
        (["Im1", "im2", "im1"], r"2 of 3 stimulus ids differ only in upper and lower case, first 'Im1', 'im1'"),
    ],
)
def test_doubtful_ids_are_refused(ids, says):
    with pytest.raises(RecordingError, match=f"(?s){says}"):
        require_ids(ids, "stimulus", "mine")


def test_order_does_not_matter_for_being_the_same():
    require_same_ids(["a", "b"], ["b", "a"], expected_in="left", found_in="right", fix="")


@pytest.mark.parametrize(
    ("found", "hint"),
    [
        (["im1", "im2", "im3 "], "'im03' and 'im3 ' differ only in spelling"),
        (["im1", "im2", "im3"], "'im03' and 'im3' differ only in leading zeros"),
        (["im1", "im2", "IM03"], "'im03' and 'IM03' differ only in upper and lower case"),
        (["im1", "im2", "im03.png"], "'im03' and 'im03.png' differ only in a file ending"),
        (["im1", "im2", " im03"], "'im03' and ' im03' differ only in white space"),
        (["im1", "im2"], "., 0 only in the latter. Fix it."),
    ],
)
def test_a_mismatch_names_sides_counts_ids_and_what_may_have_happened(found, hint):
    says = f"left names 3 stimuli, right {len(found)}; 1 only in the former .first 'im03'.*{hint}"
    with pytest.raises(StimulusMismatchError, match=says):
        require_same_ids(["im1", "im2", "im03"], found, expected_in="left", found_in="right", fix="Fix it.")


def test_only_the_first_three_ids_are_named():
    with pytest.raises(
        StimulusMismatchError, match=r"5 only in the former \(first '0', '1', '2'\), 0 only in the latter\."
    ):
        require_same_ids(list("01234"), [], expected_in="left", found_in="right", fix="")


def test_natural_order_counts():
    names = ["im10", "im2", "im1", "a", "im2b", "2", "10"]
    assert sorted(names, key=natural_order) == ["2", "10", "a", "im1", "im2", "im2b", "im10"]


def test_related_names_are_those_that_could_mean_the_same():
    assert are_related(["im1"], ["IM001.png"])
    assert not are_related(["im1", "im2"], ["cat", "dog"])
