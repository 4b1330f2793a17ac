"""Keys that let callers in: shown once when made, stored as SHA-256 only, read again when the file changes.

A key is `bb_` and 256 random bits. Nobody can guess or search that, so its hash needs neither salt nor slowness.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from filelock import FileLock, Timeout
from pydantic import AfterValidator, Field, ValidationError

from bowerbird.base.config import Config
from bowerbird.base.errors import (
    BowerbirdError,
    CorruptFile,
    NotFound,
    Refused,
    StorageError,
    UsageError,
    nearest,
    storage_errors,
)
from bowerbird.base.files import check_format, private_folder, read_json, write_json
from bowerbird.serving.errors import Unauthorized

FORMAT = 1
FILE = "keys.json"
"""Of a workspace, where no other place is given."""
MOST_KEYS = 10_000
MOST_DAYS = 36_500
_WAIT_SECONDS = 10
_PREFIX = "bb_"


def _moment(text: str) -> str:
    """A moment with its time zone: `2026-11-27T04:05:06Z`."""
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a moment needs a time zone")
    return text


Moment = Annotated[str, Field(max_length=40), AfterValidator(_moment)]


class Key(Config):
    """What is known of a key; not the key."""

    id: str = Field(pattern=r"^[0-9a-f]{8}$")
    """What it is called in logs and lists, and whom its sessions belong to."""
    name: str = Field(min_length=1, max_length=100)
    """For people."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    created: Moment
    """UTC, ISO 8601, as the others."""
    expires: Moment | None = None
    revoked: Moment | None = None
    requests_per_minute: int | None = Field(None, ge=1, le=10**9)
    """None: as `Limits` has it."""
    concurrent: int | None = Field(None, ge=1, le=10**9)
    """None: as `Limits` has it."""

    @property
    def state(self) -> str:
        """`valid`, `revoked` or `expired`, now."""
        if self.revoked is not None:
            return "revoked"
        if self.expires is not None and datetime.fromisoformat(self.expires) <= datetime.now(UTC):
            return "expired"
        return "valid"


class KeyRing:
    """The keys in a file. Several processes may read and change it; each change is written whole, under a lock.

    Args:
        path: the file; it need not be there before the first key is made.
    """

    def __init__(self, path: Path):
        self.path = Path(os.path.abspath(path.expanduser()))
        self._seen: tuple[int, ...] | None = None
        self._keys: tuple[Key, ...] = ()
        self._failure: BowerbirdError | None = None

    @property
    def keys(self) -> tuple[Key, ...]:
        """All keys in the order they were made, revoked and expired ones too; none where there is no file.

        Raises:
            CorruptFile: the file is damaged.
            Refused: others than its owner may write it.
            StorageError: it may not be read.
        """
        try:
            status = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._seen, self._keys, self._failure = None, (), None
            return ()
        except OSError as error:
            raise _unreadable(self.path) from error
        seen = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_mode)
        if seen != self._seen:
            # Nobody gets in by what was read before if this cannot be read.
            self._seen, self._keys, self._failure = seen, (), None
            try:
                self._keys = _read(self.path, status.st_mode)
            except BowerbirdError as error:
                self._failure = error
            except OSError:
                self._failure = _unreadable(self.path)
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        return self._keys

    def check(self, secret: str | bytes) -> Key:
        """The key that this secret is. Takes the same time for every wrong one, however near it is to a right one.

        Raises:
            Unauthorized: it is none of these, or revoked, or expired.
            CorruptFile, Refused, StorageError: as `keys`.
        """
        if isinstance(secret, str):
            secret = secret.encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(secret).hexdigest()
        found: Key | None = None
        for key in self.keys:
            if hmac.compare_digest(digest, key.sha256):
                found = key
        if found is None:
            raise Unauthorized("this API key is not one of this server's", code="invalid_api_key")
        if found.state != "valid":
            raise Unauthorized(f"this API key is {found.state}", code=f"{found.state}_api_key")
        return found

    def new(
        self,
        name: str,
        *,
        requests_per_minute: int | None = None,
        concurrent: int | None = None,
        expires_days: float | None = None,
    ) -> tuple[Key, str]:
        """Make a key. Its secret, the second of the pair, is nowhere else and cannot be had again.

        Raises:
            UsageError: the name or a number is not one a key can have.
            Refused: there are `MOST_KEYS` already.
        """
        name = name.strip()
        if not name or len(name) > 100 or not name.isprintable():
            raise UsageError(
                "a key's name has 1 to 100 characters on one line", hint="bowerbird keys new NAME"
            )
        for option, number in (("requests-per-minute", requests_per_minute), ("concurrent", concurrent)):
            if number is not None and not 1 <= number <= 10**9:
                raise UsageError(f"--{option} must be 1 or more", hint="leave it out for the server's own")
        if expires_days is not None and not 0 < expires_days <= MOST_DAYS:
            raise UsageError(
                f"--expires must be above 0 and at most {MOST_DAYS:,} days", hint="leave it out for never"
            )
        secret = _PREFIX + secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        with self._changing() as keys:
            if len(keys) >= MOST_KEYS:
                raise Refused(f"there are {MOST_KEYS:,} keys already", where=self.path)
            taken = {key.id for key in keys}
            key = Key(
                id=next(made for made in iter(lambda: secrets.token_hex(4), "") if made not in taken),
                name=name,
                sha256=hashlib.sha256(secret.encode()).hexdigest(),
                created=_told(now),
                expires=None if expires_days is None else _told(now + timedelta(days=expires_days)),
                requests_per_minute=requests_per_minute,
                concurrent=concurrent,
            )
            keys.append(key)
        return key, secret

    def revoke(self, key_id: str) -> Key:
        """Let nobody in by this key any more. Servers that run notice at the next request.

        Raises:
            NotFound: there is no key of this id.
        """
        _place(list(self.keys), key_id, self.path)  # before a folder and a lock are made for nothing
        with self._changing() as keys:
            place = _place(keys, key_id, self.path)
            if keys[place].revoked is None:
                keys[place] = keys[place].model_copy(update={"revoked": _told(datetime.now(UTC))})
        return keys[place]

    @contextmanager
    def _changing(self) -> Iterator[list[Key]]:
        """All keys as a list; what is in it at a good end is in the file then."""
        private_folder(self.path.parent)
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=_WAIT_SECONDS, mode=0o600)
        try:
            with storage_errors(self.path):
                lock.acquire()
        except Timeout as error:
            raise Refused("another process changes these keys", where=self.path, hint="try again") from error
        try:
            self._seen = None  # two changes may fall into one tick of the file system's clock
            keys = list(self.keys)
            yield keys
            told = [key.model_dump(exclude_none=True) for key in keys]
            write_json(_behind_links(self.path), {"format": FORMAT, "keys": told})
            self._seen = None
        finally:
            lock.release()


def _unreadable(path: Path) -> StorageError:
    return StorageError(
        "the file of keys may not be read",
        where=path,
        hint="its owner and the one who serves must be the same",
    )


def _behind_links(path: Path) -> Path:
    """Where a link leads at this moment: mounted secrets are links that move."""
    return Path(os.path.realpath(path))


def _read(path: Path, mode: int) -> tuple[Key, ...]:
    if os.name == "posix" and stat.S_IMODE(mode) & 0o022:
        raise Refused(
            "others may write the file of keys, and so let themselves in",
            where=path,
            hint=f"chmod go-w {path}",
        )
    value = read_json(_behind_links(path), "file of keys")
    if not isinstance(value, dict) or not isinstance(value.get("keys"), list):
        raise CorruptFile("this is no file of keys", where=path, hint="bowerbird keys new NAME makes one")
    check_format(value.get("format"), FORMAT, "file of keys", path)
    if len(value["keys"]) > MOST_KEYS:
        raise CorruptFile(f"this file has more than {MOST_KEYS:,} keys", where=path)
    keys = []
    for place, record in enumerate(value["keys"]):
        try:
            keys.append(Key.model_validate(record))
        except ValidationError as error:
            field = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
            raise CorruptFile(f"key {place + 1} in this file is damaged: `{field}`", where=path) from None
    if len({key.id for key in keys}) < len(keys):
        raise CorruptFile("two keys in this file have the same id", where=path)
    return tuple(keys)


def _place(keys: list[Key], key_id: str, path: Path) -> int:
    for place, key in enumerate(keys):
        if key.id == key_id:
            return place
    near = nearest(key_id, [key.id for key in keys])
    raise NotFound(
        f"there is no key `{key_id[:100]}`",
        where=path,
        hint=f"did you mean `{near}`?" if near else "bowerbird keys list",
    )


def _told(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
