"""What every database of events promises. Those that need a server are slow tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.postgres import Server, running_postgres

from bowerbird.base.errors import CorruptFile, NotFound, StorageError, UnknownName, UsageError
from bowerbird.monitoring.events import Event
from bowerbird.monitoring.store import PAGE, EventStore, Progress

Open = Callable[..., EventStore]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "sqlite-url", pytest.param("postgres", marks=pytest.mark.slow)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens one store, again and again as other processes would."""
    if request.param == "postgres":
        place: Any = request.getfixturevalue("postgres").new_database()
    else:
        place = tmp_path / "events.sqlite"
        place = f"sqlite:///{place}" if request.param == "sqlite-url" else place
    stores: list[EventStore] = []

    def open_(**options: Any) -> EventStore:
        stores.append(EventStore(place, **options))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


def event(number: int = 0, **fields: Any) -> Event:
    given = {"id": f"cmpl-{number}", "time": 1_000.0 + number, "model": "poems@live", "digest": "sha256:a"}
    return Event(**{**given, "kind": "text", "path": "/v1/completions", **fields})


def plain(events: Iterator[Event]) -> list[Event]:
    """Without their numbers."""
    return [replace(found, number=0) for found in events]


def ids(events: Iterator[Event]) -> list[str]:
    return [found.id for found in events]


FULL = event(
    1,
    owner="3fa9c01b",
    session="tea",
    arm="challenger",
    status=504,
    code="timeout",
    finish_reason="length,stop",
    prompt_tokens=7,
    completion_tokens=5_000_000_000,
    seconds=0.123456789,
    first_token_seconds=0.01,
    settings={"temperature": 0.8, "seed": 2**63 - 1, "n": 2, "label": "né"},
    prompt="Das Meer 海 🌊\n",
    output="",
)


def test_an_event_is_read_as_it_was_written(opened: Open) -> None:
    store = opened()
    assert store.add([FULL, event(2)]) == 2
    [first, second] = opened().read()
    assert replace(first, number=0) == FULL
    assert replace(second, number=0) == event(2)
    assert (second.prompt, second.output, second.first_token_seconds) == (None, None, None)


def test_a_store_without_events_is_empty(opened: Open) -> None:
    store = opened()
    assert store.add([]) == 0
    assert list(store.read()) == []
    assert store.counts() == {}
    assert store.counts(()) == {(): 0}
    assert store.size_bytes() == 0
    assert store.prune(1.0, 1) == 0
    assert store.delete(owner="x") == 0


def test_what_a_database_cannot_hold_is_replaced_and_the_rest_kept(opened: Open) -> None:
    store = opened()
    store.add([event(1, prompt="a\0b", output="c\ud800d"), event(2, prompt="\ufdd0\U0010ffff")])
    found = list(store.read())
    assert [(each.prompt, each.output) for each in found] == [("a\ufffdb", "c?d"), ("\ufdd0\U0010ffff", None)]


def test_the_order_is_that_of_writing_whatever_the_clock_does(opened: Open) -> None:
    store = opened()
    times = [500.0, 100.0, 1e12, 0.0, -5.0]
    for place, moment in enumerate(times):
        store.add([event(place, time=moment)])
    found = list(store.read())
    assert [each.time for each in found] == times
    numbers = [each.number for each in found]
    assert numbers == sorted(set(numbers))
    assert [each.time for each in store.read(newest_first=True)] == times[::-1]


def test_numbers_are_never_given_twice(opened: Open) -> None:
    store = opened()
    store.add([event(1), event(2)])
    last = max(each.number for each in store.read())
    store.delete(model="poems@live")
    store.add([event(3)])
    [found] = store.read()
    assert found.number > last


def test_many_are_read_a_page_at_a_time_in_both_directions(opened: Open) -> None:
    store = opened()
    count = 2 * PAGE + 500
    store.add(event(number) for number in range(count))
    expected = [f"cmpl-{number}" for number in range(count)]
    assert ids(store.read()) == expected
    assert ids(store.read(newest_first=True)) == expected[::-1]
    assert ids(store.read(limit=PAGE + 3)) == expected[: PAGE + 3]
    assert ids(store.read(limit=3, newest_first=True)) == expected[:-4:-1]
    assert ids(store.read(limit=0)) == []
    middle = list(store.read(limit=PAGE))[-1].number
    assert ids(store.read(after_id=middle)) == expected[PAGE:]
    assert ids(store.read(after_id=middle, newest_first=True, limit=2)) == expected[:-3:-1]


def test_reading_goes_on_while_others_write(opened: Open) -> None:
    store = opened()
    store.add(event(number) for number in range(PAGE + 1))
    reading = store.read()
    next(reading)
    opened().add([event(PAGE + 1)])
    assert len(list(reading)) == PAGE + 1


def test_only_what_is_asked_for_is_read(opened: Open) -> None:
    store = opened()
    store.add(
        [
            event(0, model="a", digest="x", owner="k1", session="s1", prompt="p"),
            event(1, model="a", digest="y", owner="", session=""),
            event(2, model="b", digest="x", owner="k2", session="s1", output=""),
            event(3, model="b", digest="y", owner="k1", session="s2"),
        ]
    )

    def found(**wanted: Any) -> list[int]:
        return [int(each.id.removeprefix("cmpl-")) for each in store.read(**wanted)]

    assert found(model="a") == [0, 1]
    assert found(digest="x") == [0, 2]
    assert found(model="b", digest="x") == [2]
    assert found(owner="k1") == [0, 3]
    assert found(owner="") == [1]
    assert found(session="s1") == [0, 2]
    assert found(since=1001.0, until=1003.0) == [1, 2]
    assert found(until=1000.0) == []
    assert found(texts_only=True) == [0, 2]
    assert found(model="c") == []
    assert found(model="a' OR '1'='1") == []


def test_events_are_counted_by_columns(opened: Open) -> None:
    store = opened()
    store.add([event(0), event(1, status=500), event(2, model="b", owner="k"), event(3)])
    assert store.counts() == {("poems@live",): 3, ("b",): 1}
    assert store.counts(("model", "status")) == {
        ("poems@live", 200): 2,
        ("poems@live", 500): 1,
        ("b", 200): 1,
    }
    assert store.counts(("owner",), model="b") == {("k",): 1}
    assert store.counts((), since=1001.0, until=1003.0) == {(): 2}
    with pytest.raises(UnknownName, match="`prompt`"):
        store.counts(("prompt",))


def test_events_are_deleted_by_key_session_model_and_time(opened: Open) -> None:
    store = opened()
    rows = [("a", "k1", "s1"), ("a", "k2", "s1"), ("b", "k1", ""), ("b", "", "s2"), ("b", "", "")]
    store.add(event(n, model=m, owner=o, session=s) for n, (m, o, s) in enumerate(rows))
    assert store.delete(owner="k1", session="s1") == 1
    assert ids(store.read()) == ["cmpl-1", "cmpl-2", "cmpl-3", "cmpl-4"]
    assert store.delete(owner="k1") == 1
    assert store.delete(before=1001.0) == 0
    assert store.delete(before=1001.5) == 1
    assert store.delete(session="s2", model="a") == 0
    assert store.delete(session="s2") == 1
    assert store.delete(owner="") == 1
    assert list(store.read()) == []
    assert store.size_bytes() == 0
    with pytest.raises(UsageError, match="say which"):
        store.delete()


def test_old_events_go_and_younger_ones_stay(opened: Open) -> None:
    store = opened()
    store.add(event(number) for number in range(10))
    assert store.prune(most_age_seconds=5.0, now=1010.0) == 5
    assert ids(store.read()) == [f"cmpl-{number}" for number in range(5, 10)]
    assert store.prune(most_age_seconds=5.0, now=1010.0) == 0


def test_beyond_their_bytes_the_oldest_go_and_no_more_than_must(opened: Open) -> None:
    store = opened()
    store.add(event(number, time=2_000.0 - number, prompt="x" * 10_000) for number in range(20))
    whole = store.size_bytes()
    assert 200_000 < whole < 220_000
    assert store.prune(most_bytes=whole) == 0
    assert store.prune(most_bytes=whole // 2 + 100) == 10
    assert ids(store.read()) == [f"cmpl-{number}" for number in range(10, 20)]
    assert store.size_bytes() <= whole // 2 + 100
    assert store.prune(most_bytes=0) == 10
    assert store.size_bytes() == 0


def test_pruning_stops_where_it_is_told_to(opened: Open) -> None:
    store = opened()
    store.add(event(number) for number in range(10))
    assert store.prune(most_age_seconds=0.0, now=1005.0, most_rows=3) == 3
    assert store.prune(most_bytes=0, most_rows=4) == 4
    assert ids(store.read()) == ["cmpl-7", "cmpl-8", "cmpl-9"]
    assert store.prune(most_age_seconds=0.0, most_bytes=0, now=2000.0, most_rows=0) == 0


def test_bytes_are_counted_again_where_others_deleted(opened: Open) -> None:
    store = opened()
    store.add([event(1, prompt="x" * 1000)])
    with store._connections.writing() as connection:
        connection.exec_driver_sql("DELETE FROM bowerbird_events")
    assert store.size_bytes() > 1000
    assert store.prune(most_bytes=10) == 0
    assert store.size_bytes() == 0


def test_several_may_open_a_new_store_and_write_at_once(opened: Open) -> None:
    errors: list[Exception] = []

    def write(writer: int) -> None:
        try:
            store = opened()
            for number in range(20):
                store.add([event(number, owner=str(writer))], Progress(f"w{writer}", number + 1))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    store = opened()
    assert store.counts(("owner",)) == {(str(writer),): 20 for writer in range(4)}
    for writer in range(4):
        assert ids(store.read(owner=str(writer))) == [f"cmpl-{number}" for number in range(20)]
        assert store.written(f"w{writer}") == 20
    assert store.size_bytes() == sum(row["size"] for row in map(_row, store.read()))


def test_progress_is_kept_with_the_events_or_not_at_all(opened: Open) -> None:
    store = opened()
    assert store.written("w") == 0
    store.add([event(1)], Progress("w", 1))
    with pytest.raises(StorageError, match="the event store"):
        store.add([event(2), event(3, time="no number")], Progress("w", 3))
    assert store.written("w") == 1
    assert ids(store.read()) == ["cmpl-1"]
    store.forget("w")
    assert store.written("w") == 0


def test_an_error_tells_nothing_of_what_was_to_be_written(opened: Open) -> None:
    with pytest.raises(StorageError) as caught:
        opened().add([event(1, prompt="my secret"), event(2, time="no number", prompt="my secret")])
    assert "secret" not in str(caught.value)


def test_a_store_of_a_newer_version_is_refused(opened: Open) -> None:
    store = opened()
    with store._connections.writing() as connection:
        connection.exec_driver_sql("UPDATE bowerbird_events_about SET schema_version = 99")
    with pytest.raises(CorruptFile, match="format 99") as caught:
        opened()
    assert "upgrade" in str(caught.value)


def test_one_that_is_not_there_is_only_made_when_that_is_wanted(opened: Open) -> None:
    with pytest.raises(NotFound, match="no events"):
        opened(create=False)
    opened().add([event(1)])
    assert ids(opened(create=False).read()) == ["cmpl-1"]


def _row(found: Event) -> dict[str, Any]:
    from bowerbird.monitoring.tables import row_of

    return row_of(found)
