"""Outputs that are too large or too binary for the state: stored under WORKFLOW_STATE_STORAGE_URL, and read back.

An output is the file `<execution>/<action>/<attempt>-<sha256>` below the root. The name has ids and the content's
checksum, and nothing that a server said. Only these three parts of a location are used for reading. So a location never
leads out of the root, and the root may be moved.

Where WORKFLOW_STATE_KEYS is set, the content is encrypted. The name has a keyed digest in place of the checksum, by
which one could find out whether a guess of the content is right.

An execution that was resumed from another one may need that one's outputs. Then it writes its id into the folder of the
other one, as `<execution>/.kept-by/<id>`.
"""

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

from workflow_state.actions.http.redaction import redact_url
from workflow_state.actions.http.scrubbing import make_scrubber
from workflow_state.actions.storage.local_folder import LocalFolder, Name
from workflow_state.actions.storage.object_store import ObjectStore, open_store
from workflow_state.encryption import blind, seal, unseal
from workflow_state.errors import DecryptionError, MissingKeyError, SettingsError, StorageError
from workflow_state.schema import EXECUTION_ID_PATTERN, StorageLocation
from workflow_state.settings import PREFIX, get_settings

Place = LocalFolder | ObjectStore

_VARIABLE = f"{PREFIX}STORAGE_URL"
_MAX_COMPONENT_LENGTH = 200
_MAX_SHOWN_CHARACTERS = 300
_KEPT_BY = ".kept-by"
_FILE_NAME = re.compile(r"[0-9]+-([0-9a-f]{64})")
_TEMPORARY_NAME = re.compile(r"\.[0-9a-f]{32}\.tmp")


def store_output(data: bytes, content_type: str, execution_id: str, action_id: str, attempt: int) -> StorageLocation:
    """Write the data whole or not at all, and return where it is. The same data again is the same file.

    Raises SettingsError for a storage URL that can't be used, StorageError where the place can't take the data.
    """
    checksum = hashlib.sha256(data).hexdigest()
    folder, keys = _component(execution_id), get_settings().keys
    name = (folder, _component(action_id), f"{attempt}-{blind(checksum, keys, folder)[0]}")
    place = _open_place()
    with _told(f"an output can't be stored in {place.shown(())}"):
        place.write(name, seal(data, keys, folder, _field_of(name)))
    return StorageLocation(
        provider=place.provider,
        path=place.shown(name),
        size=len(data),
        checksum=checksum,
        content_type=content_type,
    )


def read_stored(location: StorageLocation) -> bytes:
    """Return the data that was stored there; the checksum is verified.

    Raises StorageError where it is gone, was changed, or can't be read, and MissingKeyError where it is encrypted by a
    key that this process does not have.
    """
    name = _name_of(location)
    place = _open_place()
    with _told("a stored output can't be read"):
        try:
            data = place.read(name)
        except FileNotFoundError:
            raise _not_there(place, name) from None
    # What is encrypted is longer. What is not may begin with any bytes.
    if len(data) != location.size:
        data = _unseal(data, place, name)
    if len(data) != location.size or hashlib.sha256(data).hexdigest() != location.checksum:
        raise StorageError(f"{place.shown(name)} is not what was stored: its checksum is wrong")
    return data


def _unseal(data: bytes, place: Place, name: Name) -> bytes:
    try:
        return unseal(data, get_settings().keys, name[0], _field_of(name))
    except MissingKeyError:
        raise
    except DecryptionError as error:
        raise StorageError(f"{place.shown(name)} is not what was stored: {error}") from error


def keep_stored(locations: Iterable[StorageLocation], execution_id: str) -> None:
    """Keep outputs of other executions for as long as this execution exists, which was resumed from them.

    May be called twice. Raises StorageError where an output is gone, and where the mark can't be written.
    """
    names = {_name_of(location) for location in locations}
    if not names:
        return
    place = _open_place()
    with _told("a stored output can't be kept"):
        for name in sorted(names):
            if not place.holds(name):
                raise _not_there(place, name)
        for folder in sorted({name[0] for name in names}):
            place.write((folder, _KEPT_BY, _component(execution_id)), b"")


def check_storage() -> None:
    """Write and remove a small file. Raises SettingsError or StorageError where that fails."""
    place, name = _open_place(), (f".{uuid4().hex}.tmp",)
    with _told(f"{_VARIABLE}: outputs can't be stored in {place.shown(())}"):
        place.write(name, b"")
        place.remove([name])


def remove_expired(find_living: Callable[[set[str]], set[str]], retention_s: float) -> int:
    """Remove the outputs that nobody needs any more, and return of how many executions.

    Outputs are removed when their execution is gone, all executions that keep them are gone, and they were written
    longer ago than the retention time. `find_living` returns those of the ids that still exist. Files that this module
    has not named are left alone. May be called again, also at the same time by another process.

    Raises StorageError, SettingsError where no URL is set, and whatever `find_living` raises.
    """
    if get_settings().storage_url is None:
        # Executions of other Redis servers may have theirs there as well.
        raise SettingsError(f"{_VARIABLE} is not set: the temporary folder is the system's to clean")
    place = _open_place()
    with _told("stored outputs can't be looked through"):
        folders = place.folders()
    ids = {folder: unquote(folder) for folder in folders}
    living = find_living({owner for owner in ids.values() if re.fullmatch(EXECUTION_ID_PATTERN, owner)})
    removed = 0
    for folder in (folder for folder in folders if ids[folder] not in living):
        with _told("stored outputs can't be looked through"):
            files = [(name, at) for name, at in place.files(folder) if _is_ours(name)]
        old = [name for name, at in files if at < time.time() - retention_s]
        marks = [name for name, _ in files if name[1] == _KEPT_BY]
        # A mark is written a moment before the record of the execution that it is for. A young mark counts as living.
        if not old or not set(marks) <= set(old):
            continue
        # Asked after the files were listed: a mark is written while the execution still exists, so it is among them.
        if find_living({unquote(name[2]) for name in marks} | {ids[folder]}):
            continue
        with _told("stored outputs can't be removed"):
            place.remove(old)
        removed += 1
    return removed


def _is_ours(name: Name) -> bool:
    last = name[-1]
    if _TEMPORARY_NAME.fullmatch(last):
        return True
    return bool(
        re.fullmatch(EXECUTION_ID_PATTERN, unquote(last)) if name[1] == _KEPT_BY else _FILE_NAME.fullmatch(last)
    )


def _name_of(location: StorageLocation) -> Name:
    name = tuple(location.path.rsplit("/", 3)[-3:])
    found = _FILE_NAME.fullmatch(name[-1])
    # Names of ours do not begin with a dot, so none of them leads upwards.
    leads_astray = any(not part or part.startswith(".") for part in name)
    if len(name) != 3 or found is None or leads_astray or not _may_be_named(found[1], location.checksum):  # noqa: PLR2004 - execution, action, file
        raise StorageError("the location is not one of an output that this package has stored")
    return name


def _may_be_named(digest: str, checksum: str) -> bool:
    # With keys, a digest by a key that is gone is told by the content, whose error names the key.
    return digest == checksum or bool(get_settings().keys)


def _field_of(name: Name) -> str:
    """Return what the content of a file is bound to, beside its execution."""
    return "/".join(("stored", *name[1:]))


def _not_there(place: Place, name: Name) -> StorageError:
    return StorageError(
        f"{place.shown(name)} is not there: it has expired, or {_VARIABLE} is not what it was when it was stored"
    )


def _component(name: str) -> str:
    """Return the id as one path component that does not begin with a dot; `unquote` returns an execution's id."""
    encoded = quote(name, safe=":")
    encoded = f"%2E{encoded[1:]}" if encoded.startswith(".") else encoded
    return encoded if 0 < len(encoded) <= _MAX_COMPONENT_LENGTH else hashlib.sha256(name.encode()).hexdigest()


def _open_place() -> Place:
    url = get_settings().storage_url
    if url is None:
        return LocalFolder(_own_temporary_folder())
    try:
        return _open_url(url)
    except SettingsError as error:
        raise SettingsError(f"{_VARIABLE}: {error}") from None
    except Exception as error:  # noqa: BLE001 - a driver's own, and it may say the whole URL
        raise SettingsError(f"{_VARIABLE}: {_without_credentials(error)}") from None


def _open_url(url: str) -> Place:
    if url.startswith("/"):
        return LocalFolder(Path(url))
    parts = urlsplit(url)
    if parts.scheme in ("file", "local", ""):
        return LocalFolder(_local_path(parts.netloc, parts.path))
    if "://" not in url or "::" in url or parts.query or parts.fragment:
        raise SettingsError("must be an absolute path, file:///…, or SCHEME://… without ?, # and ::")
    return open_store(url)


def _local_path(host: str, path: str) -> Path:
    if host not in ("", "localhost") or not path.startswith("/"):
        raise SettingsError("must be an absolute path, like file:///var/outputs or /var/outputs")
    return Path(unquote(path))


def _own_temporary_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"workflow-state-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    # The name can be guessed: another user of the machine may have made it first, to read what is put there.
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise SettingsError(f"{folder} belongs to someone else; set {_VARIABLE}")
    return folder


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn any exception of a disk or a driver into a StorageError without credentials."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:  # noqa: BLE001 - drivers have exceptions of their own
        raise StorageError(f"{what}: {_without_credentials(error)}") from None


def _without_credentials(error: Exception) -> str:
    url = get_settings().storage_url or ""
    # urlsplit is not used, because it may be what refuses the URL.
    user_info = url.partition("://")[2].rpartition("@")[0]
    user, _, password = user_info.partition(":")
    secrets = [user_info, unquote(user_info), password, unquote(password), *([user] if password else [])]
    scrub = make_scrubber([url, *secrets] if user_info else [])
    told = redact_url(f"{type(error).__name__}: {error}", scrub)
    return told if len(told) <= _MAX_SHOWN_CHARACTERS else f"{told[:_MAX_SHOWN_CHARACTERS]}…"
