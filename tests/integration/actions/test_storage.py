"""Outputs in a real folder, in memory, and in a store that fails halfway."""

import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from workflow_state.actions.storage.outputs import check_storage, keep_stored, read_stored, remove_expired, store_output
from workflow_state.errors import SettingsError, StorageError
from workflow_state.schema import StorageLocation
from workflow_state.settings import get_settings

DATA = bytes(range(256)) * 800
HOUR_S = 3600


class Halfway(MemoryFileSystem):
    """A store that takes half of the data, and then says what its URL was."""

    protocol = "halfway"
    store: dict = {}  # noqa: RUF012 - MemoryFileSystem's own way
    pseudo_dirs = [""]  # noqa: RUF012 - likewise

    def __init__(self, password=None, **options):
        super().__init__(**options)
        self.password = password

    @classmethod
    def _strip_protocol(cls, path):
        return "/outputs" + str(path).partition("/outputs")[2]

    @staticmethod
    def _get_kwargs_from_urls(url):
        return {"password": url.partition("://")[2].partition("@")[0].partition(":")[2]}

    def pipe_file(self, path, value, **options):
        """Fail halfway."""
        del options
        super().pipe_file(path, value[: len(value) // 2])
        raise RuntimeError(f"lost the connection as user:{self.password}@host with {self.password}")


@pytest.fixture
def use(monkeypatch):
    """Store at this URL from now on."""

    def at(url):
        monkeypatch.setenv("WORKFLOW_STATE_STORAGE_URL", str(url))
        get_settings.cache_clear()
        return url

    yield at
    monkeypatch.undo()
    get_settings.cache_clear()
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    Halfway.store.clear()


@pytest.fixture(params=["file", "path", "memory"])
def place(request, use, tmp_path):
    """Store in a folder, named in two ways, or in memory."""
    return use({"file": f"file://{tmp_path}/out", "path": f"{tmp_path}/out", "memory": "memory://out"}[request.param])


def store(execution_id="e1", action_id="a", data=DATA):
    """Store an output of the action's first attempt."""
    return store_output(data, "image/png", execution_id, action_id, 1)


def test_what_is_stored_is_read_back(place):
    """Whole, and as often as one likes; the same again is the same file."""
    location = store()
    assert location.path.endswith(f"/out/e1/a/1-{hashlib.sha256(DATA).hexdigest()}")
    assert (location.size, location.content_type) == (len(DATA), "image/png")
    assert read_stored(location) == read_stored(location) == DATA
    assert store() == location
    check_storage()


@pytest.mark.parametrize(
    "action_id", ["each[3]", "../../up", ".", "..", "a/b", "x" * 128 + "[999999]", "ü*?", ".kept-by"]
)
def test_names_stay_below_the_root(place, action_id):
    """Whatever an id is made of, it is one component."""
    location = store("a.b:c::d-e_f", action_id)
    folder, action, _ = location.path.rpartition("/out/")[2].split("/")
    assert folder == "a.b:c::d-e_f"
    assert not action.startswith(".")
    assert not set(action) & set("/[]*?")
    assert read_stored(location) == DATA


def test_a_changed_file_is_found_out(use, tmp_path):
    """Also where its size is the same."""
    use(tmp_path)
    location = store()
    Path(location.path).write_bytes(DATA[::-1])
    with pytest.raises(StorageError, match="checksum is wrong"):
        read_stored(location)


def test_what_is_gone_says_so(place):
    """And what one could look at."""
    location = store()
    moved = location.model_copy(update={"path": location.path.replace("/e1/", "/e2/")})
    with pytest.raises(StorageError, match=r"e2/a/1-.* is not there: it has expired, or WORKFLOW_STATE_STORAGE_URL"):
        read_stored(moved)
    with pytest.raises(StorageError, match="is not there"):
        keep_stored([location, moved], "e3")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/x/../a/1-{sha}", "/x/.kept-by/1-{sha}", "e//1-{sha}", "1-{sha}", "e/a/1-{other}"]
)
def test_a_location_that_is_not_ours_is_not_read(use, tmp_path, path):
    """A state leads nowhere but below the root."""
    use(tmp_path)
    known = {"sha": "a" * 64, "other": "b" * 64}
    location = StorageLocation(
        provider="file", path=path.format(**known), size=1, checksum=known["sha"], content_type="text/plain"
    )
    with pytest.raises(StorageError, match="not one of an output"):
        read_stored(location)


def test_the_root_may_move(use, tmp_path):
    """A location is read below the root of today."""
    use(tmp_path / "old")
    location = store()
    (tmp_path / "old").rename(tmp_path / "new")
    use(tmp_path / "new")
    assert read_stored(location) == DATA


def test_files_and_folders_are_the_users_own(use, tmp_path):
    """0600 in 0700, and nothing else is there."""
    use(tmp_path / "out")
    path = Path(store(action_id="each[1]").path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert {folder.stat().st_mode & 0o777 for folder in list(path.parents)[:3]} == {0o700}
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]


@pytest.mark.parametrize("linked", ["e1", "e1/a"])
def test_a_link_leads_nowhere(use, tmp_path, linked):
    """Neither for writing nor for reading nor for removing."""
    use(tmp_path / "root")
    location = store()
    outside = tmp_path / "outside"
    outside.mkdir()
    inside = tmp_path / "root" / linked
    inside.rename(outside / "moved")
    inside.symlink_to(outside / "moved")
    before = sorted(outside.rglob("*"))
    with pytest.raises(StorageError, match="can't be read"):
        read_stored(location)
    with pytest.raises(StorageError, match="can't be stored"):
        store(data=b"other")
    assert remove_expired(lambda _: set(), -HOUR_S) == 0
    assert sorted(outside.rglob("*")) == before


def test_a_file_that_is_a_link_is_not_read(use, tmp_path):
    """It is replaced by what is stored there."""
    use(tmp_path / "root")
    location = store()
    (tmp_path / "other").write_bytes(DATA)
    Path(location.path).unlink()
    Path(location.path).symlink_to(tmp_path / "other")
    with pytest.raises(StorageError):
        read_stored(location)
    assert read_stored(store()) == DATA
    assert not Path(location.path).is_symlink()


def test_a_full_disk_leaves_nothing(tmp_path):
    """The system's own refusal in the middle of the file: the earlier one stays as it was, and no other is there."""
    script = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
from workflow_state.actions.storage.outputs import store_output
from workflow_state.errors import StorageError
store_output(b"small", "x/y", "e1", "a", 1)
try:
    store_output(b"x" * {len(DATA)}, "x/y", "e1", "a", 1)
except StorageError as error:
    sys.exit(str(error))
"""
    environment = {**os.environ, "WORKFLOW_STATE_STORAGE_URL": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert f"an output can't be stored in {tmp_path}: OSError: [Errno 27] File too large" in done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()] == [b"small"]


def test_a_store_that_fails_halfway_leaves_nothing_and_tells_no_password(use):
    """Its exceptions are its own, and may say anything."""
    fsspec.register_implementation("halfway", Halfway, clobber=True)
    use("halfway://user:hunter2hunter2@host/outputs")
    with pytest.raises(
        StorageError, match="can't be stored in halfway:///outputs: RuntimeError: lost the connection"
    ) as caught:
        store()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert Halfway.store == {}
    with pytest.raises(StorageError, match="WORKFLOW_STATE_STORAGE_URL"):
        check_storage()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("oci://key:hunter2@bucket/x", "oci:// is not installed"),
        ("nonsense://user:hunter2@x/y", "no scheme 'nonsense'"),
        ("memory://user:hunter2@x/y", "takes no credentials"),
        ("memory://x?token=hunter2", "must be"),
        ("memory://hunter2:[::1/x", "ValueError|must be"),
        ("file://elsewhere/hunter2", "absolute path"),
        ("outputs/hunter2", "absolute path"),
    ],
)
def test_a_url_that_is_wrong_is_told_without_itself(use, url, why):
    """It names the variable, and no credentials."""
    use(url)
    with pytest.raises(SettingsError, match=f"^WORKFLOW_STATE_STORAGE_URL: .*({why})") as caught:
        check_storage()
    assert "hunter2" not in str(caught.value)


def expire(*living, retention_s=-HOUR_S):
    """Remove what has expired while these executions are there."""
    return remove_expired(lambda ids: ids & set(living), retention_s)


def is_there(location):
    """Return whether it can be read."""
    try:
        return read_stored(location) == DATA
    except StorageError:
        return False


def test_what_is_gone_and_old_is_removed(place):
    """As often as one likes; and nothing young, and nothing of what is there."""
    first, second = store("e1"), store("e2:x", "each[1]")
    assert expire("e1", "e2:x") == 0
    assert expire(retention_s=HOUR_S) == 0
    assert expire("e1") == 1
    assert (is_there(first), is_there(second)) == (True, False)
    assert expire() == 1
    assert expire() == 0
    assert not is_there(first)


def test_what_another_execution_keeps_stays(place):
    """Until all that keep it are gone."""
    location = store("e1")
    for name in ("e2", "e3:x", "e2"):
        keep_stored([location, location], name)
    keep_stored([], "e4")
    for living in ("e1", "e2", "e3:x"):
        assert expire(living) == 0
    assert is_there(location)
    assert expire("e4") == 1
    assert not is_there(location)


def test_a_young_mark_keeps_what_is_old(use, tmp_path):
    """The execution that it is for may not be registered yet."""
    use(tmp_path)
    location = store("e1")
    os.utime(location.path, (1, 1))
    keep_stored([location], "e2")
    assert expire(retention_s=HOUR_S) == 0
    [mark] = (tmp_path / "e1" / ".kept-by").iterdir()
    os.utime(mark, (1, 1))
    assert expire(retention_s=HOUR_S) == 1
    assert list(tmp_path.iterdir()) == []


def test_of_a_folder_without_an_execution_what_is_old_is_removed(use, tmp_path):
    """Else one of an application that goes on and on would only grow."""
    use(tmp_path)
    old, young = store("no-execution"), store("no-execution", "b")
    os.utime(old.path, (1, 1))
    assert expire(retention_s=HOUR_S) == 1
    assert (is_there(old), is_there(young)) == (False, True)


def test_what_is_not_ours_is_left_alone(use, tmp_path):
    """Somebody may have named a folder that is in use."""
    use(tmp_path)
    name = Path(store("e1").path).name
    others = [tmp_path / path for path in ("file", "e1/file", "e1/a/file", f"x/y/z/{name}", "e1/a/.hidden", name)]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "e1" / "a" / ("." + "0" * 32 + ".tmp")).write_text("of a worker that was killed")
    assert expire() == 1
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(others)


def test_the_temporary_folder_is_not_looked_through(monkeypatch):
    """Several Redis servers may share it."""
    monkeypatch.delenv("WORKFLOW_STATE_STORAGE_URL", raising=False)
    get_settings.cache_clear()
    with pytest.raises(SettingsError, match="STORAGE_URL is not set"):
        expire()


@pytest.mark.skipif(os.getuid() == 0, reason="root writes anywhere")
def test_a_read_only_folder_is_told(use, tmp_path):
    """At start, and when something is to be stored."""
    tmp_path.chmod(0o500)
    use(tmp_path)
    for act in (check_storage, store):
        with pytest.raises(StorageError, match="Permission denied"):
            act()
    tmp_path.chmod(0o700)
