"""What every registry on the shelf promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from bowerbird.base.errors import NotFound, Refused, UnknownName, UsageError
from bowerbird.store.registry import REGISTRIES


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    (path / "bundle.json").write_text("{}")
    return path


@pytest.mark.parametrize("kind", REGISTRIES)
def test_a_published_model_is_found_again_by_number_alias_and_name(
    kind: str, tmp_path: Path, model: Path
) -> None:
    registry = REGISTRIES[kind](tmp_path / "registry")
    first = registry.publish("poems", model, "sha256:1", scores={"bits_per_byte": 2.5}, alias="live")
    second = registry.publish("poems", model, "sha256:2", parent="sha256:1")
    assert (first.version, second.version) == (1, 2)
    reopened = REGISTRIES[kind](tmp_path / "registry")
    assert reopened.find("poems", "2") == second
    assert reopened.find("poems", "live") == first
    assert reopened.find("poems", None) == first
    assert [version.digest for version in reopened.versions("poems")] == ["sha256:1", "sha256:2"]
    assert (first.path / "bundle.json").read_text() == "{}"


@pytest.mark.parametrize("kind", REGISTRIES)
def test_an_alias_moves_and_moves_back_and_the_log_knows(kind: str, tmp_path: Path, model: Path) -> None:
    registry = REGISTRIES[kind](tmp_path / "registry")
    for number in (1, 2):
        registry.publish("poems", model, f"sha256:{number}")
        registry.promote("poems", number, why=f"reason {number}")
    assert registry.rollback("poems", why="a mistake").version == 1
    with pytest.raises(Refused):
        registry.rollback("poems")
    moves = [entry for entry in registry.log("poems") if entry["alias"] == "live"]
    assert [(entry["version"], entry["previous"]) for entry in moves] == [(1, None), (2, 1), (1, 2)]
    assert moves[-1]["why"] == "a mistake"


@pytest.mark.parametrize("kind", REGISTRIES)
def test_wrong_names_are_user_errors(kind: str, tmp_path: Path, model: Path) -> None:
    registry = REGISTRIES[kind](tmp_path / "registry")
    with pytest.raises(NotFound):
        registry.find("poems", None)
    with pytest.raises(UsageError):
        registry.publish("../poems", model, "sha256:1")


def test_an_unknown_registry_is_answered_with_a_known_one() -> None:
    with pytest.raises(UnknownName, match="did you mean `folder`"):
        REGISTRIES["foldr"]
