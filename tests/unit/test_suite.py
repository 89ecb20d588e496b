"""The suite itself: any two of its files run together, in whichever order."""

import ast
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
# What `testing_kit` holds is copied into a project of its own, and run there.
MODULES = sorted(path for path in TESTS.rglob("*.py") if "testing_kit" not in path.parts)
ONE_OF_EACH_TIER = ["chaos/test_storm.py", "acceptance/running/test_limits.py", "integration/engine/test_local.py"]


def names_imported_by(path):
    """Yield each part of the names that the file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (part for name in node.names for part in name.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            yield from str(node.module).split(".")
            yield from (name.name for name in node.names)


def test_nothing_imports_a_conftest_or_a_test():
    """Which conftest `import conftest` finds depends on which files run: what is shared is in helpers."""
    wrong = {
        f"{path.relative_to(TESTS)} imports {name}"
        for path in MODULES
        for name in names_imported_by(path)
        if name == "conftest" or name.startswith("test_")
    }
    assert sorted(wrong) == []


def test_no_two_modules_of_tests_have_one_name():
    """A failure is named by its file; one name must not mean two."""
    names = [path.name for path in MODULES if path.name.startswith("test_")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_files_of_all_tiers_are_collected_by_one_process():
    """Named one by one, so that every conftest is loaded before the first test module."""
    files = [str(TESTS / name) for name in ONE_OF_EACH_TIER]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", *files],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3_000:]
