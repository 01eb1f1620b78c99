"""The vault: a key for every customer, none of them stored, each of which can be destroyed for good.

The keys are the leaves of a tree of hashes grown from one random seed (a puncturable pseudo-random function, after
Goldreich, Goldwasser and Micali): a new customer costs no write, and every process that has the file has the same
keys. To destroy one, the nodes above it are replaced by their other children: what is kept then leads to every key
but that one. An erasure adds some 1.5 KB. There is no way back, which is the point: a backup of the vault older than
an erasure undoes it, so back it up apart from the state, and throw old copies away (`docs/privacy.md`).
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import msgspec

VERSION = 1
SEED_BYTES = 16
_LEVELS = 32
_ARITY_BITS = 2
_BITS = _LEVELS * _ARITY_BITS
KEPT_KEYS = 65_536
"""Keys remembered; deriving one afresh takes some 20 us."""


class VaultError(Exception):
    """The vault cannot be used. Whose turn: the operator's; the text says what to do."""


class _Stored(msgspec.Struct, array_like=True):
    version: int
    salt: bytes
    nodes: list[tuple[int, int, bytes]]
    """(levels down, path from the root, seed)."""


class Vault:
    """The keys in one file. Asked by any thread; `destroy` belongs to the engine."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Raises VaultError when there is none at *path* (and *create* is not set), or it cannot be read."""
        self.path = path
        if create and not path.exists():
            _create(path)
        self._stamp: tuple[int, int] | None = None
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._salt, self._id = b"", b""
        self._keys: dict[int, bytes] = {}
        self._read()

    @property
    def id(self) -> bytes:
        """Four bytes that tell this vault from others."""
        return self._id

    def leaf(self, *parts: str) -> int:
        """Where the key of whom *parts* name lies. Without the vault nobody can tell who that is."""
        whole = b"".join(b"%d:" % len(raw) + raw for raw in (part.encode("utf-8", "surrogatepass") for part in parts))
        return int.from_bytes(blake2b(whole, digest_size=_BITS // 8, key=self._salt).digest(), "big")

    def key(self, leaf: int) -> bytes | None:
        """The 32 bytes of *leaf*; None when they were destroyed."""
        key = self._keys.get(leaf)
        if key is None:
            seed = self._seed(leaf)
            if seed is None:
                return None
            key = blake2b(seed, digest_size=32, person=b"tocsin key").digest()
            if len(self._keys) >= KEPT_KEYS:
                self._keys.clear()
            self._keys[leaf] = key
        return key

    def refresh(self) -> None:
        """Take up what another process destroyed since. Costs one look at the file's date."""
        if self._stamped() != self._stamp:
            self._read()

    def destroy(self, leaves: Iterable[int]) -> None:
        """Destroy the keys of *leaves*; those destroyed before stay so. On disk when it returns."""
        with _locked(self.path):
            self._read()
            wanted = [leaf for leaf in leaves if self._above(leaf) is not None]
            if not wanted:
                return
            for leaf in wanted:
                self._puncture(leaf)
                self._keys.pop(leaf, None)
            nodes = [(level, path, seed) for (level, path), seed in self._nodes.items()]
            _write(self.path, _Stored(VERSION, self._salt, nodes))
            self._stamp = self._stamped()

    # -- the tree -----------------------------------------------------------------------------------------

    def _above(self, leaf: int) -> tuple[int, int] | None:
        """The node kept at or above *leaf*: (level, path); None when there is none."""
        for level in range(_LEVELS + 1):
            node = (level, leaf >> (_BITS - _ARITY_BITS * level))
            if node in self._nodes:
                return node
        return None

    def _seed(self, leaf: int) -> bytes | None:
        above = self._above(leaf)
        if above is None:
            return None
        seed = self._nodes[above]
        for shift in range(_BITS - _ARITY_BITS * (above[0] + 1), -1, -_ARITY_BITS):
            grown = _GROWING.copy()
            grown.update(seed)
            first = (leaf >> shift & _TURNS) * SEED_BYTES
            seed = grown.digest()[first : first + SEED_BYTES]
        return seed

    def _puncture(self, leaf: int) -> None:
        above = self._above(leaf)
        if above is None:
            return
        level, path = above
        seed = self._nodes.pop(above)
        while level < _LEVELS:
            level, turn = level + 1, _step(leaf, level + 1)
            children = _children(seed)
            for other, child in enumerate(children):
                if other != turn:
                    self._nodes[level, path << _ARITY_BITS | other] = child
            path, seed = path << _ARITY_BITS | turn, children[turn]

    # -- the file -----------------------------------------------------------------------------------------

    def _stamped(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino

    def _read(self) -> None:
        stamp = self._stamped()
        try:
            stored = msgspec.msgpack.decode(self.path.read_bytes(), type=_Stored)
        except FileNotFoundError:
            raise VaultError(
                f"there is no vault at {self.path}: what is sealed cannot be read without it; restore it, or name the "
                "right place (TOCSIN_VAULT)"
            ) from None
        except OSError as error:
            raise VaultError(f"the vault {self.path} cannot be read: {error.strerror}") from None
        except msgspec.DecodeError as error:
            raise VaultError(f"the vault {self.path} is damaged ({error}); restore it from its backup") from None
        if stored.version != VERSION:
            raise VaultError(f"the vault {self.path} is of form {stored.version}; this release reads {VERSION}")
        if self._salt and stored.salt != self._salt:
            raise VaultError(f"the vault {self.path} was replaced by another one while it was in use")
        self._salt, self._stamp = stored.salt, stamp
        self._id = blake2b(stored.salt, digest_size=4, person=b"tocsin vault id").digest()
        self._nodes = {(level, path): seed for level, path, seed in stored.nodes}
        self._keys.clear()


def vault_at(path: Path) -> Vault | None:
    """The vault at *path*, for a reader; None when there is none, and then what is sealed stays sealed."""
    return Vault(path) if path.exists() else None


_GROWING = blake2b(digest_size=(1 << _ARITY_BITS) * SEED_BYTES, person=b"tocsin vault")
"""Copied for each use: made afresh it would cost twice as much."""
_TURNS = (1 << _ARITY_BITS) - 1


def _children(seed: bytes) -> list[bytes]:
    grown = _GROWING.copy()
    grown.update(seed)
    whole = grown.digest()
    return [whole[at : at + SEED_BYTES] for at in range(0, len(whole), SEED_BYTES)]


def _step(leaf: int, level: int) -> int:
    """Which child leads from *level* - 1 to *level* on the way to *leaf*."""
    return leaf >> (_BITS - _ARITY_BITS * level) & _TURNS


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        if not path.exists():
            _write(path, _Stored(VERSION, os.urandom(32), [(0, 0, os.urandom(SEED_BYTES))]))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        lock = path.with_suffix(".lock").open("w")
    except OSError as error:
        raise VaultError(f"the vault {path} cannot be written: {error.strerror}") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, stored: _Stored) -> None:
    """*stored* in the place of what was there, which is overwritten where it lay, as far as a disk allows."""
    draft = path.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(msgspec.msgpack.encode(stored))
        file.flush()
        os.fsync(file.fileno())
    before = path.open("r+b") if path.exists() else None
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    if before is not None:
        with before:  # its name is gone; its blocks are not, until they are written over
            before.write(bytes(os.fstat(before.fileno()).st_size))
            before.flush()
            os.fsync(before.fileno())
