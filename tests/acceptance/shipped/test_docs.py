"""What the pages tell to do is done, in order, and prints what they say."""

from itertools import groupby

import pytest
from helpers.pages import scenes
from helpers.pages.markdown import PAGES, blocks_of
from helpers.pages.session import DocSession

DONE = {"run", "background"}
IN_SCENES = [
    pytest.param(scene, list(blocks), id=f"{page.stem}-{scene}")
    for page in PAGES
    for scene, blocks in groupby(
        sorted((block for block in blocks_of(page) if "with" in block.words), key=lambda block: block.words["with"]),
        key=lambda block: block.words["with"],
    )
]


def blocks_in_order(page):
    """Return those that are done one after the other, from the first to the last."""
    return [block for block in blocks_of(page) if "with" not in block.words]


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(DONE & block.words.keys() for block in blocks_in_order(page))],
    ids=lambda p: p.stem,
)
def test_the_page_does_what_it_says(page, tmp_path):
    """With a Redis, a worker and a service that the page itself starts."""
    with DocSession(tmp_path) as session:
        for block in blocks_in_order(page):
            session.do(block)


@pytest.mark.parametrize(("scene", "blocks"), IN_SCENES)
def test_what_supposes_something_works_where_that_is_so(scene, blocks, tmp_path):
    """An execution called ID, a worker, a document to import."""
    with DocSession(tmp_path) as session:
        getattr(scenes, scene)(session)
        for block in blocks:
            session.do(block)
