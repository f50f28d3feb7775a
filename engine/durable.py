"""How files and folders appear as a whole or not at all, even when the process is killed while it writes them.

Written beside its place, flushed to the disk, renamed, and the folder above flushed. One writer at a time holds the
operating system's lock of a digest; a killed holder gives it up at once.
"""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from engine.errors import StoreError

TEMPORARY: Final = ".tmp-"

_N_WRITERS: Final = 16
_DIGEST: Final = re.compile(r"[0-9a-f]{6,128}")


@contextmanager
def run_lock(
    root: Path, digest: str, *, timeout_s: float = -1, waiting: Callable[[], None] | None = None
) -> Iterator[None]:
    """Hold the right to write what ``digest`` names; others wait, readers never do.

    The lock belongs to the operating system: when its holder is killed, the next writer goes on at once. A thread may
    take it again while it holds it. What dead writers of this digest left half-written is swept away.

    Parameters
    ----------
    root
        Folder of the store. On a network file system (NFS, SMB) locks of other machines are seen only where its lock
        service runs; there, let one machine write, the others read.
    timeout_s
        How long to wait; below 0, without end.
    waiting
        Called once if somebody else holds the lock, before the wait.

    Raises
    ------
    StoreError
        If the lock is still held after ``timeout_s``, or the store cannot be written.
    """
    if not _DIGEST.fullmatch(digest):
        raise StoreError(f"A run is keyed by a digest of 6 to 128 hexadecimal digits, got {digest!r}.")
    path = root / "locks" / f"{digest}.lock"
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, is_singleton=True)
        _acquire(lock, path, timeout_s, waiting)
    try:
        if lock.lock_counter == 1:
            _sweep(root, digest)
        yield
    finally:
        lock.release()


def new_folder(root: Path, digest: str) -> Path:
    """Return a new empty folder beside the runs of ``root``, for a writer that holds the lock of ``digest``."""
    folder = root / f"{TEMPORARY}{digest}-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    return folder


def write_file(path: Path, content: bytes) -> None:
    """Write ``content`` and return when it is on the disk; the file may be half-written if that fails."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write ``files`` (bytes by relative path) below ``folder`` and return when they are on the disk.

    Many at a time: the disk then commits them together, which is five times faster.
    """
    paths = {folder / name: content for name, content in files.items()}
    folders = {parent for path in paths for parent in path.parents if parent.is_relative_to(folder)}
    for path in sorted(folders):
        path.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_N_WRITERS) as pool:
        list(pool.map(write_file, paths.keys(), paths.values()))
        list(pool.map(flush_folder, folders))


def move_in(source: Path, target: Path) -> None:
    """Give ``source`` its final name ``target``, in one step, and return when the disk knows it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)
    flush_folder(target.parent)


def flush_folder(folder: Path) -> None:
    """Return when the names in ``folder`` are on the disk; does nothing where folders cannot be opened (Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(root: Path, digest: str, path: Path) -> None:
    """Remove the folder ``path``: it first leaves its place in one step, so that nobody sees half of it."""
    if path.exists():
        doomed = root / f"{TEMPORARY}{digest}-{uuid.uuid4().hex}"
        os.replace(path, doomed)
        remove(doomed)


def remove(folder: Path) -> None:
    """Remove a temporary folder, if there is one; what cannot be removed now is swept away later."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def explained(path: Path, n_bytes: int | None = None) -> Iterator[None]:
    """Turn what the operating system refuses below into a ``StoreError`` that says where, why and what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(_explanation(error, path, n_bytes)) from error


def _explanation(error: OSError, path: Path, n_bytes: int | None) -> str:
    needed = "" if n_bytes is None else f", {n_bytes:,} bytes,"
    kept = "Nothing half-written is visible and finished layers are kept: run the same command again."
    elsewhere = "choose another place with --store or UNITSCOPE_STORE"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"No space left to write {path}{needed} ({_free(path)} free). Make room or {elsewhere}. {kept}"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{path} cannot be written: {error.strerror}. Make it writable or {elsewhere}."
    return f"Writing {path}{needed} failed: {error.strerror or error}. Check the disk or {elsewhere}. {kept}"


def _free(path: Path) -> str:
    existing = next((parent for parent in (path, *path.parents) if parent.exists()), Path("/"))
    try:
        return f"{shutil.disk_usage(existing).free:,} bytes"
    except OSError:
        return "unknown"


def _acquire(lock: FileLock, path: Path, timeout_s: float, waiting: Callable[[], None] | None) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if waiting is not None:
            waiting()
        try:
            lock.acquire(timeout=timeout_s)
        except Timeout as error:
            raise StoreError(
                f"Another process has been writing this run for more than {timeout_s:g} s ({path} is locked). "
                "Wait for it to end, or stop it; its finished layers are kept."
            ) from error


def _sweep(root: Path, digest: str) -> None:
    for left in root.glob(f"{TEMPORARY}{digest}-*"):
        remove(left)
