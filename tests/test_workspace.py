"""What a MODEL on the command line means, and where the workspace is."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bowerbird.base.errors import CorruptFile, DataError, MissingExtra, NotFound, UsageError
from bowerbird.store.registry.folder import FolderRegistry
from bowerbird.store.registry.mlflow import MlflowRegistry
from bowerbird.workspace import Workspace


def bundle(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "bundle.json").write_text("{}")
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "poems"
    for step in (100, 200, 1000):
        bundle(path / "checkpoints" / f"{step:08d}" / "bundle")
    (path / "run.json").write_text("{}")
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def test_a_run_means_its_best_checkpoint(run: Path, workspace: Workspace) -> None:
    (run / "best.json").write_text(json.dumps({"step": 200}))
    found = workspace.resolve(str(run))
    assert found.path == run / "checkpoints" / "00000200" / "bundle"
    assert (found.name, found.version) == ("poems", None)


def test_a_run_not_judged_yet_means_its_newest_whole_checkpoint(run: Path, workspace: Workspace) -> None:
    (run / "checkpoints" / "00002000").mkdir()
    bundle(run / "checkpoints" / ".00003000.abc" / "bundle")
    assert workspace.resolve(str(run)).path == run / "checkpoints" / "00001000" / "bundle"


def test_a_run_without_a_checkpoint_says_how_to_go_on(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(NotFound, match="bowerbird resume"):
        workspace.resolve(str(tmp_path / "run"))


@pytest.mark.parametrize(
    "best", ["{", "[]", "{}", '{"step": "200"}', '{"step": true}', '{"step": -1}', '{"step": 7}']
)
def test_a_damaged_record_of_the_best_checkpoint_is_named(run: Path, workspace: Workspace, best: str) -> None:
    (run / "best.json").write_text(best)
    with pytest.raises(CorruptFile):
        workspace.resolve(str(run))


def test_a_checkpoint_or_a_bundle_means_itself(run: Path, workspace: Workspace, tmp_path: Path) -> None:
    checkpoint = run / "checkpoints" / "00000100"
    for reference in (checkpoint, checkpoint / "bundle"):
        found = workspace.resolve(str(reference))
        assert (found.path, found.name) == (checkpoint / "bundle", "00000100")
    assert workspace.resolve(str(bundle(tmp_path / "mine"))).name == "mine"


def test_a_published_name_is_found_from_anywhere(
    run: Path, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for digest in ("sha256:1", "sha256:2"):
        workspace.registry.publish("poems", run / "checkpoints" / "00000100" / "bundle", digest)
    workspace.registry.promote("poems", 1)
    monkeypatch.chdir(tmp_path)
    for reference, version in (("poems", 1), ("poems@2", 2), ("poems@live", 1)):
        found = workspace.resolve(reference)
        assert (found.name, found.version) == ("poems", version)
        assert (found.path / "bundle.json").is_file()


def test_a_model_at_a_path_wins_over_a_name_and_another_folder_does_not(
    run: Path, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.registry.publish("poems", run / "checkpoints" / "00000100" / "bundle", "sha256:1")
    (tmp_path / "poems").mkdir()
    monkeypatch.chdir(tmp_path)
    assert workspace.resolve("poems").version == 1
    monkeypatch.chdir(run.parent)
    assert workspace.resolve("poems").version is None


def test_a_folder_without_a_model_says_so(tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(DataError, match="no model here"):
        workspace.resolve(str(tmp_path))


def test_a_name_that_is_not_there_is_answered_with_what_is(run: Path, workspace: Workspace) -> None:
    workspace.registry.publish("poems", run / "checkpoints" / "00000100" / "bundle", "sha256:1")
    with pytest.raises(NotFound, match="did you mean `poems`"):
        workspace.resolve("peoms")
    with pytest.raises(NotFound, match="no version 4"):
        workspace.resolve("poems@4")


@pytest.mark.parametrize(
    "reference",
    ["", "runs/none", "../nothing-of-this-name", "~nobody/x", "x" * 5000, "a\0b", "@live", "Poems", "é"],
)
def test_a_strange_reference_is_not_found(reference: str, workspace: Workspace) -> None:
    with pytest.raises(NotFound):
        workspace.resolve(reference)


def test_the_workspace_is_where_the_environment_says_else_where_the_platform_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOWERBIRD_WORKSPACE", str(tmp_path / "chosen"))
    assert Workspace().root == tmp_path / "chosen"
    monkeypatch.setenv("BOWERBIRD_WORKSPACE", "")
    assert Workspace().root.name == "bowerbird"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Workspace(Path("~/here")).root == tmp_path / "here"


def test_where_a_dataset_lies_is_remembered_in_a_private_folder(workspace: Workspace, tmp_path: Path) -> None:
    assert workspace.find_dataset("sha256:1") is None
    workspace.remember_dataset("sha256:1", tmp_path / "one")
    workspace.remember_dataset("sha256:2", tmp_path / "two")
    workspace.remember_dataset("sha256:1", tmp_path / "moved")
    assert workspace.find_dataset("sha256:1") == tmp_path / "moved"
    assert workspace.find_dataset("sha256:2") == tmp_path / "two"
    assert stat.S_IMODE(workspace.root.stat().st_mode) == 0o700
    (workspace.root / "datasets.json").write_text('{"sha256:1": 5}')
    with pytest.raises(CorruptFile, match="list of datasets"):
        workspace.find_dataset("sha256:1")


def test_looking_up_a_model_does_not_load_the_libraries_that_run_one() -> None:
    code = "import sys, bowerbird.workspace; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_registry_is_the_one_named_else_the_environment_s_else_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(Workspace(tmp_path).registry, FolderRegistry)
    shared = Workspace(tmp_path, f"folder+{tmp_path}/shared").registry
    assert isinstance(shared, FolderRegistry)
    assert shared.root == tmp_path / "shared"
    monkeypatch.setenv("BOWERBIRD_REGISTRY", "mlflow")
    found = Workspace(tmp_path).registry
    assert isinstance(found, MlflowRegistry)
    assert (found.database, found.cache) == (tmp_path / "mlflow.db", tmp_path / "cache" / "mlflow")
    assert isinstance(Workspace(tmp_path, "folder").registry, FolderRegistry)


@pytest.mark.parametrize("name", ["mlfow", "mlflow+ftp://x", "+"])
def test_a_registry_that_is_none_is_a_user_error_not_a_missing_model(name: str, tmp_path: Path) -> None:
    space = Workspace(tmp_path, name)
    with pytest.raises(UsageError, match="registry"):
        space.resolve("poems")


def test_a_registry_whose_packages_are_missing_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.client", None)
    with pytest.raises(MissingExtra, match=r"bowerbird\[track\]"):
        Workspace(tmp_path, "mlflow+http://127.0.0.1:9").resolve("poems")
