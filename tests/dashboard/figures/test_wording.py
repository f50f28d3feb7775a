import pytest

from dashboard.figures.wording import degrees, elided, fixed, known_of, plural, short, signed, thousands, tick


@pytest.mark.parametrize(
    ("value", "text"), [(0.474, "0.47"), (-0.02, "−0.02"), (-0.001, "0.00"), (float("nan"), "n/a"), (1, "1.00")]
)
def test_r_has_two_digits_and_a_true_minus(value, text):
    assert fixed(value) == text


@pytest.mark.parametrize(("value", "text"), [(4.52, "+4.5"), (-0.31, "−0.3"), (0.04, "0.0"), (float("nan"), "n/a")])
def test_signed_numbers_say_their_sign(value, text):
    assert signed(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.30000000000000004, "0.3"), (-2.0, "−2"), (-1e-17, "0")])
def test_ticks_have_no_more_digits_than_they_need(value, text):
    assert tick(value) == text


@pytest.mark.parametrize(
    ("count", "text"), [(950, "950"), (12_345, "12k"), (1_619_496, "1.6M"), (999_999, "1M"), (1000, "1k"), (1, "1")]
)
def test_large_counts_are_short_in_captions(count, text):
    assert short(count) == text


def test_counts_have_thousands_separators_and_words_a_plural():
    assert thousands(1619496) == "1,619,496"
    assert [plural(n, "site") for n in (0, 1, 1200)] == ["0 sites", "1 site", "1,200 sites"]
    assert degrees(-2.54) == "−2.5°"


def test_a_count_tells_how_many_are_known_where_some_are_not():
    assert known_of(7, 7, "site") == "7 sites"
    assert known_of(6, 7, "site") == "6 of 7 sites"


def test_long_names_keep_both_ends():
    assert elided("fire3", 10) == "fire3"
    assert elided("features.12.squeeze_activation", 16) == "featu…activation"
    assert len(elided("x" * 99, 16)) == 16
