"""What every registry on the shelf promises."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.bundles import small_bundle

from bowerbird.base.errors import NotFound, Refused, UnknownName, UsageError
from bowerbird.store.bundle import open_bundle
from bowerbird.store.registry import REGISTRIES
from bowerbird.store.registry.registry import Registry

Bundle = tuple[Path, str]
Open = Callable[[], Registry]


@pytest.fixture(params=REGISTRIES)
def opened(request: pytest.FixtureRequest, mlflow_space: Callable[[Path], Path], tmp_path: Path) -> Open:
    """Opens the registry anew, as another process would."""
    root = mlflow_space(tmp_path / "space")
    return lambda: REGISTRIES[request.param]("", root)


@pytest.fixture
def bundles(tmp_path: Path) -> list[Bundle]:
    return [small_bundle(tmp_path / f"model{number}", number) for number in range(3)]


def test_a_published_model_is_found_again_by_number_alias_and_name(
    opened: Open, bundles: list[Bundle]
) -> None:
    registry = opened()
    first = registry.publish("poems", *bundles[0], scores={"bits_per_byte": 2.5}, alias="live")
    second = registry.publish("poems", *bundles[1], parent=bundles[0][1])
    assert (first.version, second.version) == (1, 2)
    assert (first.already, second.already) == (False, False)
    reopened = opened()
    assert reopened.find("poems", "2") == second
    assert reopened.find("poems", "live") == first
    assert reopened.find("poems", None) == first
    assert [version.digest for version in reopened.versions("poems")] == [digest for _, digest in bundles[:2]]
    assert reopened.versions() == [first, second]


def test_what_was_told_of_a_version_is_kept(opened: Open, bundles: list[Bundle]) -> None:
    origin = {"dataset": "sha256:d", "run": "sha256:r"}
    scores = {"bits_per_byte": 2.0, "fid (own)": 3, "lost": float("nan")}
    opened().publish("poems", *bundles[0], scores=scores, parent="sha256:p", origin=origin)
    found = opened().find("poems")
    assert found.scores == {"bits_per_byte": 2.0, "fid (own)": 3.0}
    assert (found.parent, found.origin, found.aliases) == ("sha256:p", origin, ())
    assert found.created.endswith("Z")
    assert len(found.created) == 20


def test_the_copy_is_equal_byte_for_byte_and_private(opened: Open, bundles: list[Bundle]) -> None:
    source, digest = bundles[0]
    opened().publish("poems", source, digest)
    registry = opened()
    found = registry.find("poems")
    path = registry.fetch(found)
    assert path == found.path
    assert open_bundle(path).digest == digest
    assert {file.name: file.read_bytes() for file in path.iterdir()} == {
        file.name: file.read_bytes() for file in source.iterdir()
    }
    for place in (path, *path.iterdir()):
        assert stat.S_IMODE(place.stat().st_mode) == (0o700 if place.is_dir() else 0o600), place


def test_the_same_digest_is_published_once_under_a_name(opened: Open, bundles: list[Bundle]) -> None:
    registry = opened()
    registry.publish("poems", *bundles[0])
    again = registry.publish("poems", *bundles[0], alias="live")
    assert (again.version, again.already, again.aliases) == (1, True, ("live",))
    assert len(registry.versions("poems")) == 1
    assert not registry.publish("other", *bundles[0]).already


def test_an_alias_moves_and_moves_back_step_by_step(opened: Open, bundles: list[Bundle]) -> None:
    registry = opened()
    for bundle in bundles:
        registry.publish("poems", *bundle)
    assert registry.find("poems").version == 3
    for number in (1, 2, 2, 3):
        assert registry.promote("poems", number).aliases == ("live",)
    assert registry.rollback("poems").version == 2
    assert opened().rollback("poems").version == 1
    with pytest.raises(Refused, match="nothing to go back to"):
        registry.rollback("poems")
    assert registry.promote("poems", 3).aliases == ("live",)
    assert registry.rollback("poems").version == 1
    assert registry.find("poems", "3").aliases == ()
    assert registry.find("poems").version == 1


def test_the_log_tells_what_was_done_by_whom_and_why(opened: Open, bundles: list[Bundle]) -> None:
    registry = opened()
    registry.publish("poems", *bundles[0], alias="live", why="the first")
    registry.publish("poems", *bundles[1])
    registry.promote("poems", 2, why="better")
    registry.promote("poems", 1, alias="tried")
    registry.rollback("poems", why="worse\nfor us: né ☃")
    log = opened().log("poems")
    assert [(e["action"], e["alias"], e["version"], e["previous"], e["why"]) for e in log] == [
        ("publish", None, 1, None, "the first"),
        ("promote", "live", 1, None, "the first"),
        ("publish", None, 2, None, None),
        ("promote", "live", 2, 1, "better"),
        ("promote", "tried", 1, None, None),
        ("rollback", "live", 1, 2, "worse\nfor us: né ☃"),
    ]
    assert all(e["name"] == "poems" and e["when"].endswith("Z") and "@" in e["who"] for e in log)
    assert [e["when"] for e in log] == sorted(e["when"] for e in log)


def test_what_is_not_there_is_named_with_what_is(opened: Open, bundles: list[Bundle]) -> None:
    registry = opened()
    assert registry.versions() == []
    with pytest.raises(NotFound, match="nothing is published yet"):
        registry.find("poems")
    registry.publish("poems", *bundles[0], alias="live")
    for wrong, right in (("peoms", "did you mean `poems`"), ("x", "published: poems")):
        with pytest.raises(NotFound, match=right):
            registry.versions(wrong)
    with pytest.raises(NotFound, match="its versions: 1"):
        registry.find("poems", "9" * 5000)
    with pytest.raises(NotFound, match="did you mean `poems@live`"):
        registry.find("poems", "life")
    with pytest.raises(NotFound, match="no version 7"):
        registry.promote("poems", 7)
    with pytest.raises(NotFound, match="its aliases: live"):
        registry.rollback("poems", alias="other")
    with pytest.raises(NotFound):
        registry.publish("poems", bundles[0][0] / "gone", "sha256:8")
    assert len(registry.log("poems")) == 2


@pytest.mark.parametrize("name", ["", "Poems", "../x", "a/b", ".hidden", "a b", "é", "a' OR name != '"])
def test_a_name_that_could_leave_its_place_is_refused(name: str, opened: Open, bundles: list[Bundle]) -> None:
    registry = opened()
    for use in (
        lambda: registry.publish(name, *bundles[0]),
        lambda: registry.find(name),
        lambda: registry.versions(name),
        lambda: registry.publish("poems", *bundles[0], alias=name),
    ):
        with pytest.raises(UsageError):
            use()
    assert registry.versions() == []


def test_an_unknown_registry_is_answered_with_a_known_one() -> None:
    with pytest.raises(UnknownName, match="did you mean `folder`"):
        REGISTRIES["foldr"]
