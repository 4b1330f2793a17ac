"""A model of each kind through MLflow: published by us, found and brought by MLflow's own client, opened again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import TINY, Ran
from tests.pictures import TINY_GAN, write_dataset

import bowerbird as bb
from bowerbird.base.files import write_json
from bowerbird.data.dataset import Dataset
from bowerbird.kinds import KINDS
from bowerbird.runs.carry import begin, settle

BOOK = "\n".join(
    f"X:{number}\nT:Tune {number}\nM:4/4\nL:1/8\nK:G\n" + f"{'GABc'[number % 4]}2FE D2CD | " * 7 + "G8 |]\n"
    for number in range(1, 21)
)
SCORES = {"text": "bits_per_byte", "melody": "bits_per_note", "image": "fid"}


def untrained(dataset: Path, out: Path, settings: Sequence[str]) -> Path:
    """A run that has made no step, with a report that says how good its model is."""
    data = Dataset.open(dataset)
    kind = KINDS[data.kind]
    wanted = settle(
        kind, data, model=None, size="small", minutes=None, seed=None, config=None, settings=settings
    )
    run = begin(kind, data, out, wanted, minutes=None, steps=1)
    score = {"name": SCORES[data.kind], "value": 2.25}
    write_json(run.path / "report.json", {"digest": bb.load(run.path).digest, "scores": [score]})
    return run.path


@pytest.fixture
def runs(tiny_dataset: Path, tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "book.abc").write_text(BOOK)
    prepared = bb.prepare(tmp_path / "book.abc", tmp_path / "tunes", kind="melody").path
    pictures = write_dataset(tmp_path / "pictures")
    return {
        "text": untrained(tiny_dataset, tmp_path / "run-text", TINY),
        "melody": untrained(prepared, tmp_path / "run-melody", TINY),
        "image": untrained(pictures, tmp_path / "run-image", TINY_GAN),
    }


def test_a_model_of_each_kind_goes_through_mlflow_s_own_client(
    runs: dict[str, Path], mlflow_space: Callable[[Path], Path], tmp_path: Path
) -> None:
    from mlflow import artifacts
    from mlflow.client import MlflowClient

    root = mlflow_space(tmp_path / "space")
    space = bb.Workspace(root, "mlflow")
    uri = f"sqlite:///{root}/mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    for kind, run in runs.items():
        name = f"my-{kind}"
        published = bb.publish(run, name, alias="live", why="to show", workspace=space)
        found = client.get_model_version_by_alias(name, "live")
        assert client.get_run(found.run_id).data.metrics == {SCORES[kind]: 2.25}
        brought = artifacts.download_artifacts(
            artifact_uri=found.source, dst_path=str(tmp_path / f"brought-{kind}"), tracking_uri=uri
        )
        model = bb.load(brought)
        assert (model.kind.name, model.digest) == (kind, published.digest)
        assert bb.load(f"{name}@live", workspace=space).digest == published.digest
        fields = {} if kind == "image" else {"length": 16}
        ours, theirs = (one.generate(seed=3, **fields)[0] for one in (bb.load(run), model))
        assert (ours.text, ours.finish_reason) == (theirs.text, theirs.finish_reason)
        if kind == "image":
            assert np.array_equal(ours.content, theirs.content)
    assert [version.name for version in bb.versions(workspace=space)] == ["my-image", "my-melody", "my-text"]


def test_the_command_line_keeps_models_in_mlflow(
    tiny_run: Path,
    mlflow_space: Callable[[Path], Path],
    tmp_path: Path,
    bowerbird: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = mlflow_space(tmp_path / "space")
    monkeypatch.setenv("BOWERBIRD_WORKSPACE", str(root))
    monkeypatch.setenv("BOWERBIRD_REGISTRY", f"mlflow+sqlite:///{root}/mlflow.db")
    first = bowerbird("publish", tiny_run, "poems", "--alias", "live", "--why", "the first", "--json")
    assert first.code == 0, first.err
    assert json.loads(first.out)["aliases"] == ["live"]
    assert bowerbird("generate", "poems@live", "--length", 5, "--seed", 1, "--json").code == 0
    told = json.loads(bowerbird("inspect", "poems@1", "--json").out)
    assert [link["what"] for link in told["chain"]] == ["dataset", "run", "bundle", "version"]
    log = bowerbird("versions", "poems", "--log")
    assert "the first" in log.out
    assert bowerbird("versions", "poems", "--registry", "folder").code == 4
    refused = bowerbird("versions", "--registry", "mlflow+ftp://x")
    assert (refused.code, "mlflow+http://HOST" in refused.err) == (2, True)
