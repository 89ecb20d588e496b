"""Outputs that are too large or too binary for the state, kept as files on this machine.

A file's name is made of ids and the content's checksum, never of anything that a server said. Only `file://` is
supported; workers on several machines need one folder that all of them see.
"""

import hashlib
import os
import tempfile
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from workflow_state.errors import SettingsError
from workflow_state.schema import StorageLocation
from workflow_state.settings import get_settings

_MAX_COMPONENT_LENGTH = 200


def store_output(data: bytes, content_type: str, execution_id: str, action_id: str, attempt: int) -> StorageLocation:
    """Write the data, whole or not at all, and return where it is; the same data again is the same file.

    Raises SettingsError for a storage URL that can't be used, OSError where the disk can't take the data.
    """
    checksum = hashlib.sha256(data).hexdigest()
    folder = _root_folder() / _component(execution_id) / _component(action_id)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{attempt}-{checksum}"
    # mkstemp makes the file 0600, and follows no link that someone put there.
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return StorageLocation(
        provider="file", path=str(path), size=len(data), checksum=checksum, content_type=content_type
    )


def _root_folder() -> Path:
    url = get_settings().storage_url
    if url is None:
        return _own_temporary_folder()
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise SettingsError(
            "WORKFLOW_STATE_STORAGE_URL: must be file:// and an absolute path, like file:///var/outputs"
        )
    return Path(unquote(parts.path))


def _own_temporary_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"workflow-state-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    # The name can be guessed: another user of the machine may have made it first, to read what is put there.
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise SettingsError(f"{folder} belongs to someone else; set WORKFLOW_STATE_STORAGE_URL")
    return folder


def _component(name: str) -> str:
    """Return the id as one path component."""
    encoded = quote(name, safe="")
    if len(encoded) > _MAX_COMPONENT_LENGTH or not encoded.strip("."):
        return hashlib.sha256(name.encode()).hexdigest()
    return encoded
