"""Which files belong to a result, and whether they are still what was written.

A manifest is JSON that carries its own sha256. That of a group lists every file with size and sha256; what is not in
it is not read, and what is in it is compared with it on every read. So a lost, cut, exchanged, outdated or flipped
file is an error that names it, never a number.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import MemoryStore

from engine.encoding import canonical_json
from engine.errors import StoreError

FORMAT: Final = 1
"""Layout of a run on disk; goes up when an older reader would misread it."""

Files = Mapping[str, tuple[int, str]]


def seal(kind: str, content: Mapping[str, Any]) -> bytes:
    """Return ``content`` as JSON that carries its own sha256, the layout and what kind of manifest it is."""
    content = {**content, "kind": kind, "format": FORMAT}
    return canonical_json({"content": content, "sha256": sha256(canonical_json(content))})


def read_sealed(kind: str, path: Path) -> dict[str, Any]:
    """Return what ``seal`` put into the file ``path``.

    Raises
    ------
    StoreError
        If the file is missing, changed since it was written, or of a layout that this version cannot read.
    """
    try:
        sealed = json.loads(path.read_bytes())
        content, digest = sealed["content"], sealed["sha256"]
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing.") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"{path} is not a manifest: it is damaged or was not written by unitscope.") from error
    if sha256(canonical_json(content)) != digest:
        raise StoreError(f"{path} was changed after it was written (its sha256 differs).")
    if content.get("kind") != kind:
        raise StoreError(f"{path} is the manifest of a {content.get('kind')} in the place of that of a {kind}.")
    if content.get("format") != FORMAT:
        raise StoreError(
            f"{path} has layout {content.get('format')!r}; this version of unitscope reads layout {FORMAT}. "
            "Open it with the version that wrote it, or compute it again."
        )
    return content


def sha256(content: bytes) -> str:
    """Return the sha256 of ``content`` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def listed(files: Mapping[str, bytes]) -> dict[str, tuple[int, str]]:
    """Return size in bytes and sha256 of every file."""
    return {name: (len(content), sha256(content)) for name, content in files.items()}


def missing_or_resized(folder: Path, files: Files) -> Iterator[str]:
    """Yield one sentence for every listed file that is not there or has another size; reads no contents."""
    for name, (size, _) in files.items():
        try:
            found = (folder / name).stat().st_size
        except OSError:
            yield f"{folder / name} is missing."
        else:
            if found != size:
                yield f"{folder / name} has {found} bytes instead of {size}."


def changed(folder: Path, files: Files) -> Iterator[str]:
    """Yield one sentence for every listed file that is not what was written; reads all of them."""
    for name in files:
        try:
            read_listed(folder, name, files)
        except StoreError as error:
            yield str(error)


def read_listed(folder: Path, name: str, files: Files) -> bytes:
    """Return the contents of a listed file, or raise ``StoreError`` if they are not what was written."""
    path = folder / name
    size, digest = files[name]
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing.") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(content) != size:
        raise StoreError(f"{path} has {len(content)} bytes instead of {size}.")
    if sha256(content) != digest:
        raise StoreError(f"{path} was changed after it was written (its sha256 differs).")
    return content


class SealedStore(Store):
    """Read-only zarr store of one group: exactly the listed files, each compared with the list whenever it is read."""

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, folder: Path, files: Files, advice: str) -> None:
        super().__init__(read_only=True)
        self.folder = folder
        self.files = files
        self.advice = advice

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SealedStore) and (self.folder, self.files) == (other.folder, other.files)

    def __repr__(self) -> str:
        return f"SealedStore({str(self.folder)!r})"

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the contents of a listed file (see ``zarr.abc.store.Store.get``), None for any other."""
        if key not in self.files:
            return None
        prototype = prototype or default_buffer_prototype()
        content = prototype.buffer.from_bytes(await asyncio.to_thread(self._checked, key))
        return await MemoryStore({key: content}, read_only=True).get(key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of listed files (see ``zarr.abc.store.Store.get_partial_values``)."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Return whether ``key`` is listed."""
        return key in self.files

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse: a stored result does not change."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refuse: a stored result does not change."""
        self._check_writable()

    async def list(self) -> AsyncIterator[str]:
        """Yield all listed files."""
        for key in self.files:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the listed files whose path starts with ``prefix``."""
        for key in self.files:
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names of files and folders directly in the folder ``prefix``."""
        depth = len(PurePosixPath(prefix).parts)
        inside = (parts for parts in (PurePosixPath(key).parts for key in self.files) if len(parts) > depth)
        for name in dict.fromkeys(parts[depth] for parts in inside if parts[:depth] == PurePosixPath(prefix).parts):
            yield name

    def _checked(self, key: str) -> bytes:
        try:
            return read_listed(self.folder, key, self.files)
        except StoreError as error:
            raise StoreError(f"{error} {self.advice}") from error
