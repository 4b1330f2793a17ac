"""MLflow's client for our registry: imported late and quietly, patient with other writers, its errors ours."""

from __future__ import annotations

import os
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from bowerbird.base.errors import (
    BowerbirdError,
    CorruptFile,
    MissingExtra,
    Refused,
    StorageError,
    UsageError,
    storage_errors,
)
from bowerbird.base.files import private_folder

Done = TypeVar("Done")
ATTEMPTS = 12
WAIT_SECONDS = 120.0
_HEADER = b"SQLite format 3\x00"
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # what someone publishes is told to nobody
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # what fails is raised, and told by us
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for results
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # the default of 7 takes minutes to say that a server is not there
}
_BUSY = ("Giving up after", "IntegrityError", "database is locked", "deadlock")


def place_of(uri: str) -> tuple[str, Path | None]:
    """The uri in full, and the database's file where it is a local one.

    Raises:
        UsageError: it is neither an SQLite file nor a server.
    """
    scheme, _, rest = uri.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest.strip("/") and "?" not in rest:
        path = Path(os.path.abspath(rest.removeprefix("/")))
        return f"sqlite:///{path.as_posix()}", path
    if scheme in ("http", "https") and urlsplit(uri).hostname:
        return uri, None
    raise UsageError(
        f"`{uri}` is not a place of an MLflow registry",
        hint="mlflow+sqlite:///models.db (a file), mlflow+http://HOST:PORT or mlflow+https://HOST",
    )


def shown(uri: str) -> str:
    """The uri without the password that may be in it."""
    head, separator, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{head}{separator}{host.rpartition('@')[2]}{slash}{path}"


def connect(uri: str, database: Path | None) -> Any:
    """An `MlflowClient` of this registry alone: MLflow's own global settings stay as they are.

    Raises:
        MissingExtra: MLflow is not installed.
        CorruptFile: the local file is no SQLite database.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with _of_their_own():
        try:
            from mlflow.client import MlflowClient

            if database is not None:
                import alembic  # noqa: F401 (MLflow needs it, and its skinny package does not bring it)
        except ImportError as error:
            raise MissingExtra("an MLflow registry", "track", instead="use the registry `folder`") from error
        if database is not None:
            make_database(database)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def _of_their_own() -> Iterator[None]:
    """Silence what MLflow and its libraries tell each other of what is deprecated: nobody here can mend it."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category)
        yield


def make_database(path: Path) -> None:
    """Make an empty MLflow database where there is none yet; several processes may ask at once.

    Raises:
        CorruptFile: something else is there.
        Refused: another process takes too long to make it.
    """
    with storage_errors(path):
        private_folder(path.parent)
        if _is_there(path):
            return
        lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=WAIT_SECONDS, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            raise Refused("another process has been making this database", where=path) from None
        try:
            if not _is_there(path):
                _make(path)
        finally:
            lock.release()


def _make(path: Path) -> None:
    """Make it beside its place first: MLflow's migrations take seconds, and a crash must leave no half of them."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    handle, building = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        artifacts = path.with_name(f"{path.stem}-artifacts")
        SqlAlchemyStore(f"sqlite:///{Path(building).as_posix()}", artifacts.as_uri()).engine.dispose()
        os.replace(building, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(building)
        raise


def _is_there(path: Path) -> bool:
    if not path.exists() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        if file.read(len(_HEADER)) != _HEADER:
            raise CorruptFile("this is not an SQLite database", where=path)
    return True


def patiently(uri: str, do: Callable[[], Done], done: Callable[[], Done | None] = lambda: None) -> Done:
    """Do it; when others came between, look whether it was `done` all the same, wait a little, try again.

    Raises:
        Refused: others came between every time.
    """
    for attempt in range(ATTEMPTS):
        try:
            return do()
        except Exception as error:
            if _code(error) != "TEMPORARILY_UNAVAILABLE" and not any(sign in str(error) for sign in _BUSY):
                raise
        found = done()
        if found is not None:
            return found
        time.sleep(random.uniform(0.02, 0.05) * 1.5**attempt)
    raise crowded(uri)


def or_there_already(make: Callable[[], object]) -> None:
    """Make something with a name of its own, unless another process has just done so."""
    try:
        make()
    except Exception as error:
        if _code(error) != "RESOURCE_ALREADY_EXISTS":
            raise


def _code(error: Exception) -> str | None:
    """What kind MLflow says its error is of. Its class is not imported: `connect` must come before any import."""
    return getattr(error, "error_code", None)


def crowded(uri: str) -> Refused:
    return Refused(
        "other processes kept writing to the registry",
        where=shown(uri),
        hint="wait for them to end, then run the same command again",
    )


@contextmanager
def mlflow_errors(uri: str) -> Iterator[None]:
    """What MLflow, the network and the database raise, as a `StorageError`."""
    try:
        with _of_their_own(), storage_errors(shown(uri)):
            yield
    except BowerbirdError:
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("mlflow", "sqlalchemy", "requests"):
            raise
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].replace(uri, shown(uri))
        raise StorageError(
            f"the MLflow registry said no: {said[:300]}",
            where=shown(uri),
            hint="is it there, is it made by this version of MLflow, and may you write to it?",
        ) from error
