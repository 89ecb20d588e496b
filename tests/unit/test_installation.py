"""What a message says to type for an extra: a command for the place that the package was installed from."""

import json
import subprocess
import sys

import pytest
from helpers.pages.markdown import ROOT

from workflow_state.installation import install_command


@pytest.fixture
def installed_from(tmp_path, monkeypatch):
    """Have the metadata say that the package was installed from there; None is an index."""
    folder = tmp_path / "site-packages" / "workflow_state-9.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.4\nName: workflow-state\nVersion: 9\n")
    monkeypatch.syspath_prepend(folder.parent)

    def write(origin):
        if origin is not None:
            (folder / "direct_url.json").write_text(json.dumps(origin))

    return write


def test_from_an_index(installed_from):
    installed_from(None)
    assert install_command("graph") == "pip install 'workflow-state[graph]'"


def test_from_a_checkout(installed_from, tmp_path):
    """Whose path may have a space, which the address has as %20."""
    checkout = tmp_path / "my work"
    checkout.mkdir()
    installed_from({"url": checkout.as_uri(), "dir_info": {}})
    assert install_command("graph") == f"pip install '{checkout}[graph]'"
    installed_from({"url": checkout.as_uri(), "dir_info": {"editable": True}})
    assert install_command("graph") == f"pip install --editable '{checkout}[graph]'"


def test_from_a_checkout_that_is_gone(installed_from, tmp_path):
    installed_from({"url": (tmp_path / "gone").as_uri(), "dir_info": {}})
    assert install_command("graph") == "pip install 'workflow-state[graph]'"


def test_from_a_wheel(installed_from):
    installed_from({"url": "file:///home/ada/workflow_state-9-py3-none-any.whl", "archive_info": {}})
    expected = "pip install 'workflow-state[graph] @ file:///home/ada/workflow_state-9-py3-none-any.whl'"
    assert install_command("graph") == expected


def test_from_a_repository(installed_from):
    origin = {"url": "https://git.example/ada/it.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}
    installed_from(origin)
    assert install_command("web") == "pip install 'workflow-state[web] @ git+https://git.example/ada/it.git@c0ffee'"


def test_on_the_path_without_being_installed():
    """An interpreter without site-packages finds the modules, and no metadata."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import workflow_state.installation as it"
    program += "; print(it.install_command('web'))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"pip install '{ROOT}[web]'\n"


def test_pip_takes_a_folder_with_an_extra(tmp_path):
    """As the messages write it: pip reads a path before the brackets, also one with a space."""
    project = tmp_path / "my work"
    project.mkdir()
    text = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    text += '[project]\nname = "tiny"\nversion = "1"\n[project.optional-dependencies]\none = []\n'
    (project / "pyproject.toml").write_text(text)
    (project / "tiny.py").touch()
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-build-isolation"]
    command.append(f"{project}[one]")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Would install tiny-1" in done.stdout, done.stderr
