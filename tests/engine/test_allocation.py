"""Memory that matches after one another share."""

import pytest

from engine.allocation import freed_memory_kept, give_back, has_pages, matches_to_come, pages


def test_several_matches_share_pages_and_what_they_cost():
    with freed_memory_kept(matches=3):
        with freed_memory_kept():
            assert matches_to_come() == 3
            taken = pages(2**22)
            taken[:4] = b"held"
            give_back(taken)
        assert (matches_to_come(), has_pages(2**22), has_pages(2**23)) == (2, True, False)
        assert pages(2**22)[:4] == b"held"
        assert not has_pages(1)
    assert matches_to_come() == 1


@pytest.mark.parametrize("matches", [1, 5])
def test_one_match_keeps_nothing(matches):
    with freed_memory_kept(matches=matches):
        give_back(pages(2**22))
    assert not has_pages(1)
