"""Whoever rings is stopped by nobody that listens."""

from dashboard.bell import Bell


class Page:
    """Counts the rings; one that is gone cannot be told."""

    def __init__(self, *, is_gone: bool = False) -> None:
        self.n_rings, self.is_gone = 0, is_gone

    def rung(self, *, is_news: bool) -> None:
        self.n_rings += 1
        if self.is_gone:
            raise RuntimeError("the document was destroyed")


def test_a_page_that_is_gone_keeps_nobody_else_from_being_told():
    bell, pages = Bell(), [Page(), Page(is_gone=True), Page()]
    for page in pages:
        bell.listen(page)
    bell.ring()
    bell.ring(is_news=False)
    assert [page.n_rings for page in pages] == [2, 1, 2]
