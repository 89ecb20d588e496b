"""The site of the documentation is built from the pages as they are."""

import subprocess
import sys

import pytest
from helpers.pages.markdown import PAGES, ROOT

pytest.importorskip("sphinx")
pytest.importorskip("furo")


@pytest.mark.timeout(300)
def test_the_site_is_built_without_a_warning_and_has_every_page(tmp_path):
    """Links within it lead somewhere, each page is in the contents, and there is a search."""
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs/build"]
    done = subprocess.run(
        [*command, "-d", tmp_path / "cache", ".", site], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    missing = [page for page in PAGES if not (site / page.relative_to(ROOT)).with_suffix(".html").exists()]
    assert missing == []
    assert "docs/index.html" in (site / "index.html").read_text()
    assert (site / "search.html").exists()
    assert "visibility" in (site / "searchindex.js").read_text()
