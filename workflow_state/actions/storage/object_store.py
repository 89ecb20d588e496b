"""A place that fsspec has a driver for, in which outputs are stored: a bucket or a container, say.

It has the methods of LocalFolder. A driver may raise any exception; `outputs` turns them into one of ours.

fsspec is an extra. It is loaded when the first such place is opened.
"""

import importlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from workflow_state.actions.storage.local_folder import Name
from workflow_state.errors import SettingsError
from workflow_state.installation import install_command


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """The driver, and the root as the driver writes it. Every method may raise any exception."""

    filesystem: Any
    provider: str
    root: str

    def shown(self, name: Name) -> str:
        """Return the file's URL, which has no credentials."""
        return f"{self.provider}://{self._path(name)}"

    def write(self, name: Name, data: bytes) -> None:
        """Write the file in one piece, which an object store keeps whole or not at all."""
        path = self._path(name)
        try:
            self.filesystem.pipe_file(path, data)
        except BaseException:
            # Drivers of other places (SFTP, say) write where the file is to be. No state names it yet.
            with suppress(Exception):
                self.filesystem.rm_file(path)
            raise

    def read(self, name: Name) -> bytes:
        """Return the content of the file. Raises FileNotFoundError where there is none."""
        data: bytes = self.filesystem.cat_file(self._path(name))
        return data

    def holds(self, name: Name) -> bool:
        """Return whether the file is there."""
        self.filesystem.invalidate_cache()
        return bool(self.filesystem.isfile(self._path(name)))

    def folders(self) -> list[str]:
        """Return the names of the folders right below the root."""
        self.filesystem.invalidate_cache()
        try:
            entries = self.filesystem.ls(self.root, detail=True)
        except FileNotFoundError:
            return []
        names = [entry["name"].rstrip("/") for entry in entries if entry["type"] == "directory"]
        return [name.rpartition("/")[2] for name in names]

    def files(self, folder: str) -> Iterator[tuple[Name, float]]:
        """Yield the files two levels below one of those folders, and when each was changed, in s since 1970."""
        for path in self.filesystem.find(self._path((folder,))):
            name = tuple(path.rsplit("/", 3)[-3:])
            with suppress(FileNotFoundError):
                if name[0] == folder:
                    yield name, self._modified_s(path)

    def remove(self, names: Iterable[Name]) -> None:
        """Remove the files, and the folders that are empty then. Files that are gone already are ignored."""
        parents: set[Name] = set()
        for name in names:
            with suppress(FileNotFoundError):
                self.filesystem.rm_file(self._path(name))
            parents |= {name[:depth] for depth in range(1, len(name))}
        self.filesystem.invalidate_cache()
        for parent in sorted(parents, key=len, reverse=True):
            # Most stores have no folders. Not every driver of the others refuses to remove one that is not empty.
            with suppress(Exception):
                if not self.filesystem.ls(self._path(parent)):
                    self.filesystem.rmdir(self._path(parent))

    def _modified_s(self, path: str) -> float:
        try:
            moment = self.filesystem.modified(path)
        except NotImplementedError:
            moment = self.filesystem.info(path)["mtime"]
        return moment.timestamp() if isinstance(moment, datetime) else float(moment)

    def _path(self, name: Name) -> str:
        return "/".join((self.root, *name))


def open_store(url: str) -> ObjectStore:
    """Return the place that the URL names.

    Raises SettingsError where it can't be used, or its driver is not installed. Its message has nothing of the URL but
    the scheme.
    """
    scheme = url.partition("://")[0]
    try:
        fsspec: Any = importlib.import_module("fsspec")
    except ModuleNotFoundError:
        raise SettingsError(
            f"a storage at {scheme[:40]}:// needs an extra that is not installed: {install_command('storage')}"
        ) from None
    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError:
        raise SettingsError(f"fsspec knows no scheme {scheme[:40]!r}") from None
    except ImportError as error:
        raise SettingsError(f"the driver of {scheme}:// is not installed: {error}") from None
    filesystem, root = fsspec.core.url_to_fs(url)
    root = root.rstrip("/")
    if "@" in root:
        # The root is part of every location, and must have no credentials in it.
        raise SettingsError(f"{scheme}:// takes no credentials in the URL; set them in the driver's own variables")
    return ObjectStore(filesystem, scheme, root)
