"""A folder of this machine in which outputs are stored, with mode 0600 for files and 0700 for folders.

Everything below the root is opened folder by folder, and no symbolic link is followed: somebody else may have put it
there.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

Name = tuple[str, ...]
"""The place of a file below the root: its folders, and its own name."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_TRIES = 3


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """The root, which is made when something is first written. Every method raises OSError where it fails."""

    root: Path

    @property
    def provider(self) -> str:
        """The name that a StorageLocation has for it."""
        return "file"

    def shown(self, name: Name) -> str:
        """Return the file's absolute path."""
        return str(self.root.joinpath(*name))

    def write(self, name: Name, data: bytes) -> None:
        """Write the file whole or not at all, and return when it is on the disk. An earlier file is replaced."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(_TRIES - 1):
            # An expiry may remove an empty folder after it was made and before it is opened.
            with suppress(FileNotFoundError):
                return self._write(name, data)
        return self._write(name, data)

    def _write(self, name: Name, data: bytes) -> None:
        temporary = f".{uuid4().hex}.tmp"
        with _opened(self.root, name[:-1], create=True) as folder:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            try:
                with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=folder), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(temporary, name[-1], src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            # The rename is on the disk only when the folder is.
            os.fsync(folder)

    def read(self, name: Name) -> bytes:
        """Return the content of the file. Raises FileNotFoundError where there is none."""
        with (
            _opened(self.root, name[:-1]) as folder,
            os.fdopen(os.open(name[-1], os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder), "rb") as file,
        ):
            return file.read()

    def holds(self, name: Name) -> bool:
        """Return whether the file is there."""
        try:
            with _opened(self.root, name[:-1]) as folder:
                return stat.S_ISREG(os.stat(name[-1], dir_fd=folder, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False

    def folders(self) -> list[str]:
        """Return the names of the folders right below the root."""
        return _folders_in(self.root)

    def files(self, folder: str) -> Iterator[tuple[Name, float]]:
        """Yield the files two levels below one of those folders, and when each was changed, in s since 1970."""
        for middle in _folders_in(self.root / folder):
            with suppress(FileNotFoundError):
                for path in (self.root / folder / middle).iterdir():
                    # Each by itself: a file that is removed meanwhile must not hide the others.
                    with suppress(FileNotFoundError):
                        found = path.lstat()
                        if stat.S_ISREG(found.st_mode):
                            yield (folder, middle, path.name), found.st_mtime

    def remove(self, names: Iterable[Name]) -> None:
        """Remove the files, and the folders that are empty then. Files that are gone already are ignored."""
        parents: set[Name] = set()
        for name in names:
            with suppress(FileNotFoundError), _opened(self.root, name[:-1]) as folder:
                os.unlink(name[-1], dir_fd=folder)
            parents |= {name[:depth] for depth in range(1, len(name))}
        for parent in sorted(parents, key=len, reverse=True):
            # OSError means that something else is in the folder.
            with suppress(OSError):
                self.root.joinpath(*parent).rmdir()


@contextmanager
def _opened(root: Path, folders: Name, *, create: bool = False) -> Iterator[int]:
    """Open the folder below the root, without following a link on the way."""
    descriptor = os.open(root, _FOLDER)
    try:
        for folder in folders:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(folder, 0o700, dir_fd=descriptor)
            inner = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _folders_in(path: Path) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
