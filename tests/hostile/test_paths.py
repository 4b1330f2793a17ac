"""No path in a file of ours leads out of its folder: not when a model is opened, published, signed or fetched."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.store.bundles import tiny_bundle

from bowerbird.base.digest import digest_file, sealed
from bowerbird.base.errors import BowerbirdError, CorruptFile, NotFound, UsageError
from bowerbird.store.bundle import open_bundle
from bowerbird.store.registry.folder import FolderRegistry
from bowerbird.workspace import Workspace


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "model")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that is nobody's business, beside the model."""
    (tmp_path / "secret").write_text("a secret")
    return tmp_path / "secret"


def everything_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def naming(bundle: Path, name: str, file: Path) -> None:
    """A manifest, true to its seal, that names one more file."""
    path = bundle / "bundle.json"
    told = json.loads(path.read_text())
    told["files"][name] = digest_file(file)
    told.pop("digest")
    path.write_text(json.dumps(sealed(told)))


@pytest.mark.parametrize("name", ["../secret", "ABSOLUTE", "./../secret", "x/../../secret", "..", "."])
def test_a_bundle_cannot_name_a_file_elsewhere(bundle: Path, secret: Path, name: str) -> None:
    naming(bundle, str(secret) if name == "ABSOLUTE" else name, secret)
    with pytest.raises(CorruptFile, match=r"outside|missing"):
        open_bundle(bundle)


@pytest.mark.parametrize("target", ["../secret", "ABSOLUTE"])
def test_a_sealed_file_cannot_be_a_link_out(bundle: Path, secret: Path, target: str) -> None:
    (bundle / "notes.json").symlink_to(str(secret) if target == "ABSOLUTE" else target)
    naming(bundle, "notes.json", secret)
    with pytest.raises(CorruptFile, match="outside"):
        open_bundle(bundle)


def linked(bundle: Path, secret: Path) -> None:
    (bundle / "link").symlink_to(secret)


def linked_folder(bundle: Path, secret: Path) -> None:
    (bundle / "link").symlink_to(secret.parent, target_is_directory=True)


def looped(bundle: Path, secret: Path) -> None:
    (bundle / "link").symlink_to(".", target_is_directory=True)


def broken(bundle: Path, secret: Path) -> None:
    (bundle / "link").symlink_to("nowhere")


def signed_by_a_link(bundle: Path, secret: Path) -> None:
    bundle.with_name("model.sig").symlink_to(secret)


def piped(bundle: Path, secret: Path) -> None:
    os.mkfifo(bundle / "pipe")


@pytest.mark.parametrize("trick", [linked, linked_folder, looped, broken, signed_by_a_link, piped])
def test_what_a_link_leads_to_is_not_published(
    bundle: Path, secret: Path, tmp_path: Path, trick: Callable[[Path, Path], None]
) -> None:
    trick(bundle, secret)
    registry = FolderRegistry(tmp_path / "registry")
    with pytest.raises(CorruptFile, match="link"):
        registry.publish("poems", bundle, "sha256:1")
    assert registry.names() == []
    assert b"a secret" not in everything_below(tmp_path / "registry")


@pytest.mark.parametrize("name", ["../poems", "/tmp/poems", "a/b", "..", ".", "", "a\\b", "x\0y"])
def test_a_name_cannot_lead_out_of_the_registry(bundle: Path, tmp_path: Path, name: str) -> None:
    registry = FolderRegistry(tmp_path / "deep" / "registry")
    before = sorted(os.listdir(tmp_path))
    for use in (
        lambda: registry.publish(name, bundle, "sha256:1"),
        lambda: registry.find(name),
        lambda: registry.promote(name, 1),
        lambda: registry.log(name),
    ):
        with pytest.raises((UsageError, NotFound)):
            use()
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("selector", ["../1", "..", "1/../../x", "/etc", "\0", "01"])
def test_a_version_cannot_lead_out_of_its_name(bundle: Path, tmp_path: Path, selector: str) -> None:
    space = Workspace(tmp_path / "space")
    space.registry.publish("poems", bundle, "sha256:1")
    if selector == "01":
        assert space.registry.find("poems", selector).version == 1
        return
    with pytest.raises(BowerbirdError):
        space.registry.find("poems", selector)


@pytest.mark.parametrize("step", ["../../x", -1, True, 1.5, None, "00000012"])
def test_the_record_of_the_best_checkpoint_cannot_lead_elsewhere(
    tmp_path: Path,
    step: Any,
) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "run" / "best.json").write_text(json.dumps({"step": step}))
    tiny_bundle(tmp_path / "x" / "bundle")
    with pytest.raises(CorruptFile):
        Workspace(tmp_path / "space").resolve(str(tmp_path / "run"))
