"""The MLflow registry beyond the contract: MLflow's own client, damage, other programs, servers, crowding."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.bundles import small_bundle

from bowerbird.base.errors import BowerbirdError, CorruptFile, MissingExtra, Refused, StorageError, UsageError
from bowerbird.store.registry import mlflow_client
from bowerbird.store.registry.log import history
from bowerbird.store.registry.mlflow import MlflowRegistry, open_mlflow
from bowerbird.store.registry.mlflow_client import place_of, shown
from bowerbird.store.registry.mlflow_records import MOVE, RECORD, now

Bundle = tuple[Path, str]


@pytest.fixture
def space(mlflow_space: Callable[[Path], Path], tmp_path: Path) -> Path:
    return mlflow_space(tmp_path / "space")


@pytest.fixture
def registry(space: Path) -> MlflowRegistry:
    return open_mlflow("", space)


@pytest.fixture
def bundles(tmp_path: Path) -> list[Bundle]:
    return [small_bundle(tmp_path / f"model{number}", number) for number in range(3)]


def test_mlflow_s_own_client_finds_downloads_and_shows_a_version(
    registry: MlflowRegistry, bundles: list[Bundle], tmp_path: Path
) -> None:
    from mlflow import artifacts
    from mlflow.client import MlflowClient

    path, digest = bundles[0]
    path.with_name("model0.sig").write_bytes(b"signed")
    registry.publish("poems", path, digest, scores={"bits_per_byte": 2.5, "fid (own)": 3.0}, alias="live")
    client = MlflowClient(tracking_uri=registry.uri, registry_uri=registry.uri)
    found = client.get_model_version_by_alias("poems", "live")
    assert (int(found.version), found.tags["bowerbird.digest"]) == (1, digest)
    run = client.get_run(found.run_id)
    assert run.data.metrics == {"bits_per_byte": 2.5, "fid _own_": 3.0}
    assert run.data.params == {"model.width": "8", "model.cell": "lstm"}
    assert run.info.status == "FINISHED"
    place = artifacts.download_artifacts(
        artifact_uri=found.source, dst_path=str(tmp_path / "brought"), tracking_uri=registry.uri
    )
    assert (Path(place) / "bundle" / "weights.safetensors").read_bytes() == (
        path / "weights.safetensors"
    ).read_bytes()
    assert (Path(place) / "bundle.sig").read_bytes() == b"signed"


def test_a_signature_comes_with_the_bundle(registry: MlflowRegistry, bundles: list[Bundle]) -> None:
    path, digest = bundles[0]
    path.with_name("model0.sig").write_bytes(b"signed")
    registry.publish("poems", path, digest)
    fetched = registry.fetch(registry.find("poems"))
    assert fetched.with_name("bundle.sig").read_bytes() == b"signed"


def test_a_bundle_is_fetched_once_and_again_only_when_it_is_damaged(
    registry: MlflowRegistry, bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registry.publish("poems", *bundles[0])
    assert not version.path.exists()
    brought: list[str] = []
    bring = MlflowRegistry._bring
    monkeypatch.setattr(
        MlflowRegistry, "_bring", lambda self, run, folder: (brought.append(run), bring(self, run, folder))
    )
    registry.fetch(version)
    registry.fetch(version)
    assert len(brought) == 1
    (version.path / "weights.safetensors").write_bytes(b"cut")
    assert (registry.fetch(version) / "weights.safetensors").read_bytes() != b"cut"
    assert len(brought) == 2


def test_a_bundle_that_was_changed_in_mlflow_is_refused_and_not_kept(
    registry: MlflowRegistry, bundles: list[Bundle], space: Path
) -> None:
    version = registry.publish("poems", *bundles[0])
    (kept,) = (space / "mlflow-artifacts").glob("*/artifacts/bundle")
    other, _ = bundles[1]
    for file in other.iterdir():  # a whole bundle, but another one
        (kept / file.name).write_bytes(file.read_bytes())
    with pytest.raises(CorruptFile, match="poems@1 is not what was published"):
        registry.fetch(version)
    assert not version.path.exists()


def test_a_link_in_place_of_a_file_brings_nothing_from_elsewhere(
    registry: MlflowRegistry, bundles: list[Bundle], space: Path, tmp_path: Path
) -> None:
    version = registry.publish("poems", *bundles[0])
    (kept,) = (space / "mlflow-artifacts").glob("*/artifacts/bundle")
    (tmp_path / "secret").write_text("secret")
    (kept / "README.md").unlink()
    (kept / "README.md").symlink_to(tmp_path / "secret")
    with pytest.raises(BowerbirdError):
        registry.fetch(version)
    assert not list((space / "cache").rglob("README.md"))


def test_what_is_kept_on_this_machine_is_private(
    registry: MlflowRegistry, bundles: list[Bundle], space: Path
) -> None:
    registry.fetch(registry.publish("poems", *bundles[0]))
    for place in (space / "mlflow-artifacts", space / "cache", space / "cache" / "mlflow"):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700, place
    assert stat.S_IMODE((space / "mlflow.db").stat().st_mode) == 0o600


def test_a_move_by_another_program_is_followed_and_gone_back_on(
    registry: MlflowRegistry, bundles: list[Bundle]
) -> None:
    for bundle in bundles:
        registry.publish("poems", *bundle)
    registry.promote("poems", 1)
    registry.promote("poems", 2)
    registry._client.set_registered_model_alias("poems", "live", "3")
    assert registry.find("poems").version == 3
    assert registry.rollback("poems").version == 2
    assert registry.rollback("poems").version == 1
    with pytest.raises(Refused):
        registry.rollback("poems")


def test_versions_that_others_put_into_mlflow_are_left_alone(
    registry: MlflowRegistry, bundles: list[Bundle]
) -> None:
    registry.publish("poems", *bundles[0])
    client = registry._client
    client.create_model_version("poems", "file:///nowhere", tags={"theirs": "yes"})
    client.create_registered_model("Their Model")
    client.create_model_version("Their Model", "file:///nowhere", tags={"bowerbird.digest": "sha256:x"})
    assert [version.version for version in registry.versions()] == [1]
    assert registry.publish("poems", *bundles[1]).version == 3
    assert [version.version for version in registry.versions("poems")] == [1, 3]
    assert len(registry.log("poems")) == 2


RECORD_TOLD = {"format": 1, "when": "2026-01-01T00:00:00.000000Z", "who": "a@b", "why": None, "scores": {}}
DAMAGE: list[dict[str, Any]] = [
    {"format": 99},
    {"format": None},
    {"scores": None},
    {"scores": {"a": "x"}},
    {"scores": {"a": float("nan")}},
    {"scores": {"a": 10**400}},
    {"when": "yesterday"},
    {"when": "9999-12-31T23:59:59.999999Z"},
    {"when": 3},
    {"who": 3},
    {"why": 3},
]


@pytest.mark.parametrize(
    "record",
    ["", "{", "[]", "{}", "[" * 50_000, *(json.dumps(RECORD_TOLD | change) for change in DAMAGE)],
    ids=lambda record: record[:30] or "empty",
)
def test_a_damaged_record_is_named(registry: MlflowRegistry, bundles: list[Bundle], record: str) -> None:
    registry.publish("poems", *bundles[0])
    registry._client.set_model_version_tag("poems", "1", RECORD, record)
    with pytest.raises(CorruptFile, match="poems@1"):
        registry.find("poems")


@pytest.mark.parametrize("run", ["../../../x", "a/b", "", "x" * 70])
def test_a_run_that_would_leave_the_cache_is_damage(
    registry: MlflowRegistry, bundles: list[Bundle], run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registry.publish("poems", *bundles[0])
    entry = registry._client.get_model_version("poems", "1")
    entry._run_id = run
    monkeypatch.setattr(registry, "_search", lambda condition: [entry])
    assert version.path.parent.parent == registry.cache
    with pytest.raises(CorruptFile, match="no run"):
        registry.find("poems")


@pytest.mark.parametrize("value", ["{", "{}", '{"when": 3}', "null"])
def test_a_damaged_entry_of_the_log_is_named(
    registry: MlflowRegistry, bundles: list[Bundle], value: str
) -> None:
    registry.publish("poems", *bundles[0], alias="live")
    registry._client.set_registered_model_tag("poems", f"{MOVE}broken", value)
    with pytest.raises(CorruptFile, match="poems"):
        registry.log("poems")


def test_a_failed_publication_leaves_no_version_and_no_run(
    registry: MlflowRegistry, bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.publish("poems", *bundles[0])

    def full(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(registry._client), "log_artifacts", full)
        with pytest.raises(StorageError, match="the disk is full"):
            registry.publish("poems", *bundles[1], alias="live")
    assert [version.version for version in registry.versions("poems")] == [1]
    experiment = registry._client.get_experiment_by_name("bowerbird").experiment_id
    assert len(registry._client.search_runs([experiment])) == 1
    assert registry.publish("poems", *bundles[1]).version == 2


def test_others_coming_between_are_waited_for_and_nothing_is_done_twice(
    registry: MlflowRegistry, bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    registry.publish("poems", *bundles[0])
    client, calls = registry._client, []
    create = client.create_model_version

    def unlucky(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise MlflowException("Model Version creation error. Giving up after 3 attempts.")
        create(*arguments, **named)
        raise MlflowException("(sqlite3.OperationalError) database is locked")  # after all, it was made

    monkeypatch.setattr(client, "create_model_version", unlucky)
    assert registry.publish("poems", *bundles[1]).version == 2
    assert len(calls) == 2
    assert [version.version for version in registry.versions("poems")] == [1, 2]


def test_a_registry_that_is_always_busy_is_given_up(
    registry: MlflowRegistry, bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    registry.publish("poems", *bundles[0])

    def busy(*arguments: object) -> None:
        raise MlflowException("(sqlite3.OperationalError) database is locked")

    monkeypatch.setattr(mlflow_client, "ATTEMPTS", 2)
    monkeypatch.setattr(registry._client, "set_registered_model_tag", busy)
    with pytest.raises(Refused, match="kept writing"):
        registry.promote("poems", 1)


def test_an_alias_ends_where_the_log_says_whoever_comes_between(
    registry: MlflowRegistry, bundles: list[Bundle], space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bundle in bundles:
        registry.publish("poems", *bundle)
    other = open_mlflow("", space)
    client, late = registry._client, []
    point = client.set_registered_model_alias

    def slowly(name: str, alias: str, version: str) -> None:
        if not late:  # another process moves the alias between our entry and our move
            late.append(other.promote("poems", 3))
        point(name, alias, version)

    monkeypatch.setattr(client, "set_registered_model_alias", slowly)
    registry.promote("poems", 2)
    moves = [entry["version"] for entry in registry.log("poems") if entry["action"] == "promote"]
    assert moves == [2, 3]
    assert registry.find("poems").version == 3


def test_what_was_seen_came_before_even_if_clocks_differ() -> None:
    ahead = "2126-01-01T00:00:00.000009Z"
    assert now(ahead) == "2126-01-01T00:00:00.000010Z"
    assert now("2020-01-01T00:00:00.000000Z")[:2] == "20"


def test_two_who_roll_back_at_once_go_back_once() -> None:
    moves = [{"alias": "live", "action": "promote", "version": number} for number in (1, 2, 3)]
    back = {"alias": "live", "action": "rollback", "version": 2}
    assert history([*moves, back, back], "live") == [1, 2]


@pytest.mark.parametrize("alias", ["a.b", "latest", "v2"])
def test_an_alias_that_means_something_to_mlflow_is_refused(
    registry: MlflowRegistry, bundles: list[Bundle], alias: str
) -> None:
    with pytest.raises(UsageError, match="in MLflow"):
        registry.publish("poems", *bundles[0], alias=alias)
    with pytest.raises(UsageError, match="longer than MLflow keeps"):
        registry.publish("poems", *bundles[0], why="x" * 5000)


@pytest.mark.parametrize(
    "uri",
    ["", "x", "sqlite://", "sqlite:///", "postgresql://a/b", "http://", "sqlite:///a.db?b=c", "file:///x"],
)
def test_a_place_that_is_none_is_refused_with_what_is_one(uri: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mlflow\+sqlite"):
        MlflowRegistry(uri, tmp_path)


def test_a_relative_file_is_the_same_from_anywhere_and_a_password_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of("sqlite:///models.db") == (f"sqlite:///{tmp_path}/models.db", tmp_path / "models.db")
    assert place_of(f"sqlite:///{tmp_path}/models.db")[1] == tmp_path / "models.db"
    assert place_of("https://me:secret@host:5000/x") == ("https://me:secret@host:5000/x", None)
    assert shown("https://me:secret@host:5000/x") == "https://host:5000/x"
    assert shown(f"sqlite:///{tmp_path}/models.db") == f"sqlite:///{tmp_path}/models.db"


def test_looking_makes_no_database(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bowerbird.store.registry.mlflow import open_mlflow\n"
        "assert open_mlflow('', Path(sys.argv[1])).versions() == []\n"
        "assert not {'mlflow', 'sqlalchemy', 'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_database_is_made_whole_by_whoever_is_first_and_nothing_is_said_of_it(
    tmp_path: Path, bundles: list[Bundle]
) -> None:
    code = (
        "import sys; from pathlib import Path; from bowerbird.store.registry.mlflow import open_mlflow\n"
        "space, model, digest, name = sys.argv[1:]\n"
        "open_mlflow('', Path(space)).publish(name, Path(model), digest)\n"
        "from mlflow.telemetry.client import get_telemetry_client; assert get_telemetry_client() is None"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "space")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    running = [
        subprocess.Popen(
            [*command, str(path), digest, f"name{number}"],
            env=environment,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            text=True,
        )
        for number, (path, digest) in enumerate(bundles)
    ]
    assert [process.communicate()[1] for process in running] == ["", "", ""]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(open_mlflow("", tmp_path / "space").versions()) == 3
    names = {path.name for path in (tmp_path / "space").iterdir()}
    assert names == {"mlflow.db", ".mlflow.db.lock", "mlflow-artifacts"}
    assert not (tmp_path / "mlruns").exists()


def test_a_file_that_is_no_database_is_damage(tmp_path: Path, bundles: list[Bundle]) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database" * 9)
    with pytest.raises(CorruptFile, match="not an SQLite database"):
        MlflowRegistry(f"sqlite:///{tmp_path}/x.db", tmp_path / "cache").publish("poems", *bundles[0])


def test_a_server_that_is_not_there_is_a_storage_error(
    tmp_path: Path, bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = MlflowRegistry("http://me:secret@127.0.0.1:9", tmp_path)
    with pytest.raises(StorageError) as found:
        registry.versions()
    assert found.value.where == "http://127.0.0.1:9"
    assert "secret" not in str(found.value)


def test_without_mlflow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.client", None)
    with pytest.raises(MissingExtra, match=r"bowerbird\[track\]"):
        MlflowRegistry("http://127.0.0.1:9", tmp_path).versions()


def test_a_tag_of_ours_is_json_that_people_can_read(registry: MlflowRegistry, bundles: list[Bundle]) -> None:
    registry.publish("poems", *bundles[0], why="né", alias="live")
    model = registry._client.get_registered_model("poems")
    (move,) = [value for key, value in model.tags.items() if key.startswith(MOVE)]
    assert json.loads(move)["why"] == "né"
    assert "né" in move
