"""Memory that matches after one another share."""

import platform

import psutil
import pytest
import torch

from engine.allocation import freed_memory_kept, give_back, give_back_freed, has_pages, matches_to_come, pages

MIB = 2**20


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_what_was_freed_is_kept_until_it_is_given_back():
    with freed_memory_kept():
        before = psutil.Process().memory_info().rss
        held = [torch.ones(MIB) for _ in range(100)]  # 4 MiB each
        pins = [torch.ones(1000) for _ in range(100)]  # above them in the heap
        del held
        kept = psutil.Process().memory_info().rss
        give_back_freed()
        left = psutil.Process().memory_info().rss
    assert len(pins) == 100
    assert kept - before > 300 * MIB
    assert left - before < 100 * MIB
