"""What the pages tell to do is done, in order, and prints what they say."""

import pytest
from doc_session import DocSession
from markdown import PAGES, blocks_of

DONE = {"run", "background"}


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(DONE & block.words.keys() for block in blocks_of(page))],
    ids=lambda p: p.stem,
)
def test_the_page_does_what_it_says(page, tmp_path):
    """With a Redis, a worker and a service that the page itself starts."""
    with DocSession(tmp_path) as session:
        for block in blocks_of(page):
            session.do(block)
