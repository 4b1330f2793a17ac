"""The store of events as a file: private, patient, and clear about what is wrong with it."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from bowerbird.base.errors import CorruptFile, MissingExtra, NotFound, StorageError, UsageError
from bowerbird.monitoring import database
from bowerbird.monitoring.events import Event
from bowerbird.monitoring.store import EventStore, checked_place


def event(number: int = 0, **fields: Any) -> Event:
    given = {"id": f"cmpl-{number}", "time": 1_000.0 + number, "model": "poems", "digest": "sha256:a"}
    return Event(**{**given, "kind": "text", "path": "/v1/completions", **fields})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.sqlite"


def test_all_of_it_is_its_owner_s_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = EventStore(tmp_path / "new" / "events.sqlite")
        store.add([event(1, prompt="x" * 100_000)])
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "new").iterdir()}
    finally:
        os.umask(before)
    assert {"events.sqlite", "events.sqlite-wal", "events.sqlite-shm"} <= set(modes)
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    store.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"poems\n", "no event store"),
        (b"SQLite format 3\0" + b"\xff" * 2000, "damaged, or is none"),
        (b"{}", "no event store"),
    ],
)
def test_a_file_of_something_else_is_refused_and_left_alone(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    for create in (True, False):
        with pytest.raises(CorruptFile, match=said) as caught:
            EventStore(path, create=create)
        assert str(path) in str(caught.value)
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE songs (name TEXT)")
    with pytest.raises(CorruptFile, match="of something else"):
        EventStore(path)


def test_a_folder_and_a_place_that_may_not_be_written_are_named(tmp_path: Path, path: Path) -> None:
    path.mkdir()
    with pytest.raises(CorruptFile, match="this is a folder"):
        EventStore(path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="part of the path is a file"):
        EventStore(tmp_path / "file" / "events.sqlite")


def test_an_empty_file_becomes_a_store_but_only_where_one_is_to_be_made(path: Path) -> None:
    path.touch()
    with pytest.raises(NotFound, match="no events"):
        EventStore(path, create=False)
    with EventStore(path) as store:
        store.add([event(1)])
        assert store.counts(()) == {(): 1}


def test_a_file_cut_short_is_told_as_damaged(path: Path) -> None:
    with EventStore(path) as store:
        store.add(event(number, prompt="x" * 1000) for number in range(100))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(CorruptFile, match="damaged"), EventStore(path) as store:
        list(store.read())


def test_whoever_waits_for_a_lock_is_told_who_holds_it_up(path: Path) -> None:
    store = EventStore(path, timeout_seconds=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked") as caught:
        store.add([event(1)])
    assert "does no other program hold it" in str(caught.value)
    assert list(store.read()) == []
    other.execute("COMMIT")
    store.add([event(1)])
    other.close()


def test_a_lock_that_is_let_go_in_time_is_waited_for(path: Path) -> None:
    store = EventStore(path, timeout_seconds=30)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    letting_go = threading.Timer(0.2, other.execute, ["COMMIT"])
    letting_go.start()
    assert store.add([event(1)]) == 1
    letting_go.join()
    other.close()


def test_a_full_disk_is_told_and_nothing_half_is_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_PRAGMAS", (*database._PRAGMAS, "max_page_count = 40"))
    store = EventStore(path)
    store.add([event(1)])
    with pytest.raises(StorageError, match="full"):
        store.add(event(number, prompt="x" * 5_000) for number in range(2, 60))
    assert [found.id for found in store.read()] == ["cmpl-1"]
    assert store.size_bytes() < 1_000


def test_a_file_that_was_taken_away_is_made_anew_by_the_next_write(path: Path) -> None:
    store = EventStore(path)
    store.add([event(1)])
    path.unlink()
    with pytest.raises(NotFound):
        list(store.read())
    store.add([event(2)])
    assert [found.id for found in EventStore(path, create=False).read()] == ["cmpl-2"]
    assert [found.id for found in store.read()] == ["cmpl-2"]


def test_a_file_that_was_replaced_is_the_one_that_counts(path: Path, tmp_path: Path) -> None:
    with EventStore(tmp_path / "other.sqlite") as other:
        other.add([event(7)])
    store = EventStore(path)
    store.add([event(1)])
    for file in tmp_path.glob("events.sqlite*"):
        file.unlink()
    (tmp_path / "other.sqlite").rename(path)
    assert [found.id for found in store.read()] == ["cmpl-7"]


def test_what_is_deleted_is_nowhere_in_the_files(path: Path) -> None:
    store = EventStore(path)
    words = "a most private remark "
    store.add(event(number, owner="k1", prompt=f"{words}{number} " * 100) for number in range(50))
    store.add([event(99, owner="k2", prompt="hello")])

    def held() -> bytes:
        return b"".join(file.read_bytes() for file in path.parent.iterdir() if file.is_file())

    assert words.encode() in held()
    store.delete(owner="k1")
    assert words.encode() not in held()
    assert b"hello" in held()


def test_the_file_becomes_smaller_when_much_is_deleted(path: Path) -> None:
    store = EventStore(path)
    store.add(event(number, prompt="x" * 2_000) for number in range(1_000))
    with store._connections.reading() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    before = path.stat().st_size
    assert abs(store.size_bytes() - before) < 0.5 * before, "the size that is told is about that of the file"
    store.prune(most_bytes=200_000)
    assert path.stat().st_size < before / 4


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://ann:secret@db.example/team", "postgresql+psycopg://ann:***@db.example/team"),
        ("postgresql+psycopg://ann@/team?host=/tmp/x", "postgresql+psycopg://ann@/team?host=%2Ftmp%2Fx"),
        ("sqlite:////tmp/e.sqlite", "/tmp/e.sqlite"),
        ("/tmp/e.sqlite", "/tmp/e.sqlite"),
        (Path("/tmp/e.sqlite"), "/tmp/e.sqlite"),
    ],
)
def test_a_place_is_shown_without_its_password(given: str | Path, shown: str) -> None:
    assert checked_place(given).shown == shown


@pytest.mark.parametrize("given", ["sqlite://", "sqlite:///:memory:", "://", "no scheme://x y", "duck://x"])
def test_what_names_no_database_is_refused(given: str) -> None:
    with pytest.raises(UsageError):
        EventStore(given)


def test_a_server_that_is_not_there_is_told_without_its_password(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StorageError, match="the event store said no") as caught:
        EventStore(f"postgresql://ann:secret@/team?host={tmp_path}", timeout_seconds=1)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("module", "place", "extra"), [
    ("sqlalchemy", "events.sqlite", "monitor"), ("psycopg", "postgresql://ann@db/team", "postgres")
])  # fmt: skip
def test_what_is_not_installed_is_named(
    module: str, place: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"needs packages") as caught:
        EventStore(place)
    assert f"bowerbird[{extra}]" in str(caught.value)


def test_the_key_of_a_place_does_not_depend_on_how_it_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    keys = {EventStore(place).key for place in (path, str(path), "events.sqlite", f"sqlite:///{path}")}
    assert len(keys) == 1


def test_whoever_comes_while_a_store_is_made_finds_all_of_it(tmp_path: Path) -> None:
    for number in range(20):
        place, errors = tmp_path / str(number) / "events.sqlite", list[Exception]()

        def come(place: Path = place, errors: list[Exception] = errors) -> None:
            try:
                EventStore(place).close()
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=come) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
