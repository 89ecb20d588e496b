"""The pages: tables are up to date, examples are valid, commands and links lead somewhere. Nothing is run here."""

import ast
import importlib
import json
import re
import shlex
import tomllib

import click
import pytest
import yaml
from helpers.pages.markdown import PAGES, ROOT, anchors_of, blocks_of, links_of
from helpers.plans import action

import workflow_state
from workflow_state import errors
from workflow_state.actions.definitions.files import read_definition_files
from workflow_state.celery import app
from workflow_state.cli.commands import commands
from workflow_state.engine.rights import acl_rules
from workflow_state.plans.validation.validator import validate_plan_with
from workflow_state.schema import ErrorDetail

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TARGETS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
# What every machine that runs this has, or can be expected to know.
OTHERS = {"cd", "mkdir", "touch", "rm", "export", "eval", "python", "redis-cli", "redis-server", "curl", "tee", "head"}
OTHERS |= {"pytest", "python3", ".", "git", "kill", "systemctl", "cp", "cat", "openssl"}


def test_what_is_made_from_the_code_is_up_to_date(monkeypatch):
    """Tables of fields and settings, commands, and docstrings: `make docs` writes them."""
    monkeypatch.syspath_prepend(ROOT / "docs" / "build")
    tables = importlib.import_module("tables")
    for page in tables.PAGES:
        assert tables.with_tables(page.read_text()) == page.read_text(), f"{page.name}: make docs"


def test_the_rights_of_the_operating_guide_are_those_that_a_worker_looks_for():
    """Each key, channel and command, and no other."""
    page = (ROOT / "docs/how-to/operate.md").read_text()
    (block,) = re.findall(r"^ACL SETUSER (.*?)^```", page, re.DOTALL | re.MULTILINE)
    rights = {word for word in block.split() if word[0] in "~&+"}
    assert rights == set(acl_rules(app))


def test_each_public_name_is_in_the_reference():
    """With a heading, or in the table of documents."""
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    assert [name for name in workflow_state.__all__ if f"\n### {name}\n" not in page and f"`{name}`" not in page] == []


def test_the_page_of_exceptions_has_the_tree_and_no_other_name():
    """The tree is that of the module; whatever else is named is public."""
    page = (ROOT / "docs" / "how-to" / "exceptions.md").read_text()
    (tree,) = re.findall(r"^```text\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert tree.strip() in re.sub(r"^    ", "", errors.__doc__, flags=re.MULTILINE)
    named = set(re.findall(r"`(\w+Error)`", page)) | set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    assert named - {"execute_plan"} <= set(workflow_state.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    """Those within the repository."""
    for file, anchor in links_of(page):
        assert file.exists(), (page.name, file)
        if anchor:
            assert anchor in anchors_of(file), (page.name, file.name, anchor)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_are_named_are_there(page):
    """Those of the package, such as `store/names.py` or `engine/levels`."""
    package = ROOT / "workflow_state"
    folders = "|".join(path.name for path in package.iterdir() if path.is_dir())
    named = re.findall(rf"`((?:{folders})/[\w/]+(?:\.(?:py|lua))?)`", page.read_text())
    assert [name for name in named if not (package / name).exists() and not (package / f"{name}.py").exists()] == []


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "json"], ids=str)
def test_json_is_a_plan_or_an_action_of_one_or_an_error(block):
    """What an action depends on is put beside it."""
    document = json.loads(block.text)
    if "category" in document:
        ErrorDetail.model_validate(document)
        return
    if block.words.get("file") in {"answer.json", "broken.json"}:
        return
    if "actionDefinitionId" in document:
        document = {"name": "x", "actions": [document, *map(action, document.get("dependencies", []))]}
    validate_plan_with(None, document)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "yaml"], ids=str)
def test_yaml_holds_definitions(block, tmp_path):
    """They load, all of them."""
    (tmp_path / "page.yaml").write_text(block.text)
    assert len(read_definition_files([tmp_path])) == len(yaml.safe_load(block.text))


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=str)
def test_python_compiles_and_imports_what_is_there(block):
    """Names from the package are public."""
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module == "workflow_state":
            assert {name.name for name in node.names} <= set(workflow_state.__all__)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "sh"], ids=str)
def test_commands_are_there(block):
    """With their options, extras and targets."""
    # A quoted program of several lines is one word.
    for line in re.sub(r"'[^']*'", lambda found: found[0].replace("\n", " "), block.text).splitlines():
        for words in commands_in(line):
            check(words)


def commands_in(line):
    """Yield the words of each command of a line; variables that are set before it are left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    words = []
    for word in [*lexer, ";"]:
        if set(word) <= set("|&;"):
            while words and re.match(r"\w+=", words[0]):
                words.pop(0)
            if words:
                yield words
            words = []
        elif word not in (">", "<", ">>"):
            words.append(word)


def check(words):
    """Require that what the words call is there."""
    program, *rest = words
    match program:
        case "workflow-state":
            command = commands
            while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
                _, command, rest = command.resolve_command(click.Context(command), rest)
            known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            known |= {"--help", "-h", "--version"}
            assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known, words
        case "celery":
            assert rest[:2] == ["-A", "workflow_state"]
            assert rest[2] in {"worker", "flower", "inspect", "control", "beat", "purge"}
        case "opentelemetry-instrument":
            check(rest)
        case "pip":
            assert rest[0] == "install"
            # No index has it yet.
            assert not any(word.startswith("workflow-state") for word in rest), words
            for extra in re.findall(r"(?:workflow-state|\.)\[([\w,]+)\]", " ".join(rest)):
                assert set(extra.split(",")) <= EXTRAS.keys()
        case "make":
            assert {word for word in rest if "=" not in word} <= set(TARGETS)
        case "./run":
            assert re.search(rf"^{rest[0]}( \||\))", (ROOT / "run").read_text(), re.MULTILINE)
        case "docker":
            assert rest[0] == "compose"
            assert (ROOT / "docker-compose.yml").exists()
        case _:
            assert program in OTHERS, words
