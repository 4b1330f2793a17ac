"""What holds a person's words or model is for its owner alone: files 0600, folders 0700, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bowerbird import lifecycle
from bowerbird.base.files import held, whole_file, whole_folder, write_whole
from bowerbird.base.journal import Journal
from bowerbird.cli.main import build_app
from tests.conftest import TINY, Ran

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX systems")


@pytest.fixture(autouse=True)
def _everybody_may_everything() -> Iterator[None]:
    """The laxest umask there is."""
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(*places: Path) -> list[str]:
    """All below these places, and they themselves, that anybody but the owner may read, write or enter."""
    found = [path for place in places for path in [place, *place.rglob("*")]]
    assert all(path.exists() for path in found)
    return [
        f"{path}: {oct(path.stat().st_mode)}" for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077
    ]


def test_files_and_folders_are_made_private(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "file", b"x")
    with whole_file(tmp_path / "b" / "file") as file:
        file.write(b"x")
    with whole_folder(tmp_path / "c" / "out") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text("x")
        (folder / "inner").chmod(0o755)
    with held(tmp_path / "c" / "out", "taken"):
        pass
    Journal(tmp_path / "a" / "metrics.jsonl").write(step=1)
    assert open_to_others(*(tmp_path / name for name in "abc")) == []


def test_the_check_sees_what_is_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert len(open_to_others(tmp_path / "file")) == 1


@pytest.fixture(scope="module")
def run(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    before = os.umask(0)
    try:
        out = tmp_path_factory.mktemp("private") / "run"
        lifecycle.train(tiny_dataset, out, steps=4, settings=TINY)
    finally:
        os.umask(before)
    return out


def test_a_dataset_and_a_run_are_private(tiny_dataset: Path, run: Path) -> None:
    assert (run / "metrics.jsonl").is_file()
    assert open_to_others(tiny_dataset, run) == []


def test_a_published_signed_encrypted_and_decrypted_model_is_private(
    run: Path, workspace: Path, tmp_path: Path
) -> None:
    from bowerbird.store.encryption import new_key_file
    from bowerbird.store.signing import new_key

    workspace = workspace / "w"
    space = lifecycle.Workspace(workspace)
    new_key(tmp_path / "keys" / "sign")
    new_key_file(tmp_path / "keys" / "encrypt")
    lifecycle.publish(run, "poems", alias="live", workspace=space)
    signed = lifecycle.sign("poems", tmp_path / "keys" / "sign", workspace=space)
    assert workspace in signed.signature.parents
    lifecycle.encrypt("poems", tmp_path / "e" / "file", key=tmp_path / "keys" / "encrypt", workspace=space)
    lifecycle.decrypt(tmp_path / "e" / "file", tmp_path / "d" / "out", key=tmp_path / "keys" / "encrypt")
    assert (tmp_path / "d" / "out.sig").is_file()
    assert open_to_others(workspace, *(tmp_path / name for name in ("keys", "e", "d"))) == []


@pytest.mark.parametrize(("form", "name"), [("pth", "model.pth"), ("safetensors", "model")])
def test_an_exported_model_is_private(
    run: Path, tmp_path: Path, bowerbird: Callable[..., Ran], form: str, name: str
) -> None:
    if "export" not in list(build_app()):
        pytest.skip("there is no export yet")
    ran = bowerbird("export", run, "--to", form, "--out", tmp_path / "made" / name)
    assert ran.code == 0, ran.err
    assert open_to_others(tmp_path / "made") == []
