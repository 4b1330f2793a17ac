"""The registry in MLflow: a local SQLite file, or a server that a team shares.

    registered model NAME     its aliases, and a tag for every move of one
    version 1, 2, 3 ...       numbered by MLflow; tags: digest, parent, dataset, run, record
    the version's run         scores as metrics, settings as params; artifacts: bundle/ and what lies beside it

Nothing is locked, for a server gives no locks. MLflow gives a number once. A version is made together with its
entry in the log. Each move of an alias is a tag of its own, so no writer overwrites another's; whoever has made
one points the alias at what the log says last, and looks again until both agree. As the last to write does so
too, they agree in the end, whoever came between.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from bowerbird.base.errors import BowerbirdError, CorruptFile, NotFound, UsageError
from bowerbird.base.files import private_folder, whole_folder
from bowerbird.store.beside import beside
from bowerbird.store.registry.log import history, who
from bowerbird.store.registry.mlflow_client import (
    ATTEMPTS,
    connect,
    crowded,
    mlflow_errors,
    or_there_already,
    patiently,
    place_of,
    shown,
)
from bowerbird.store.registry.mlflow_records import (
    DIGEST,
    move_tag,
    moves_of,
    now,
    settings_of,
    timeline,
    version_of,
    version_tags,
)
from bowerbird.store.registry.naming import LIVE, NAME, before, check_alias, check_name, choose, no_name
from bowerbird.store.registry.version import Version, finite

EXPERIMENT = "bowerbird"
_BESIDE = ("bundle.sig", "bundle.reference.json")
"""Artifacts that lie beside `bundle`."""
_LONGEST_REASON = 3000
_PAGE = 1000
_OURS = f"tags.`{DIGEST}` LIKE 'sha256:%'"


def open_mlflow(place: str, root: Path) -> MlflowRegistry:
    """The registry at a uri, by default a file in a workspace's folder `root`, which has the cache as well."""
    file = (root / "mlflow.db").absolute().as_posix()
    return MlflowRegistry(place or f"sqlite:///{file}", root / "cache" / "mlflow")


class MlflowRegistry:
    """A `Registry` in MLflow.

    Args:
        uri: `sqlite:///FILE`, made when the first model is published, or `http://HOST:PORT` or `https://...`.
        cache: a folder on this machine for the bundles that are fetched.

    Raises:
        UsageError: the uri is neither.
    """

    def __init__(self, uri: str, cache: Path):
        self.uri, self.database = place_of(uri)
        self.cache = cache

    def publish(
        self,
        name: str,
        bundle: Path,
        digest: str,
        *,
        scores: Mapping[str, float] | None = None,
        parent: str | None = None,
        origin: Mapping[str, str] | None = None,
        alias: str | None = None,
        why: str | None = None,
    ) -> Version:
        """As every registry; but two who publish the same digest at the same moment may make two versions."""
        check_name(name)
        if alias is not None:
            _check_alias(alias)
        _check_reason(why)
        if not bundle.is_dir():
            raise NotFound("there is no bundle to publish here", where=bundle)
        moment = now()
        with mlflow_errors(self.uri):
            self._make_name(name)
            found = self._search(f"name = '{name}' AND tags.`{DIGEST}` = '{digest}'")
            if found:
                number = int(found[0].version)
            else:
                kept = finite(scores or {})
                tags = version_tags(digest, kept, parent, origin or {}, moment, who(), why)
                number = self._add(name, bundle, tags, kept)
            if alias is not None and self._aliases(name).get(alias) != number:
                self._move(name, "promote", alias, number, why, after=moment)
            return replace(self._one(name, number), already=bool(found))

    def versions(self, name: str | None = None) -> list[Version]:
        if name is not None:
            check_name(name)
        with mlflow_errors(self.uri):
            found = self._search(f"name = '{name}'" if name else _OURS)
            if name is not None and not found:
                published = sorted({one.name for one in self._search(_OURS)})
                raise no_name(name, published, shown(self.uri))
            aliases = {one: self._aliases(one) for one in dict.fromkeys(entry.name for entry in found)}
            return [version_of(one, aliases[one.name], self.cache, shown(self.uri)) for one in found]

    def find(self, name: str, selector: str | None = None) -> Version:
        versions = {version.version: version for version in self.versions(name)}
        aliases = {alias: number for number, version in versions.items() for alias in version.aliases}
        return versions[choose(name, selector, sorted(versions), aliases, self._where(name))]

    def fetch(self, version: Version) -> Path:
        if not _holds(version):
            with mlflow_errors(self.uri):
                private_folder(self.cache)
                with whole_folder(version.path.parent, replace=True) as building:
                    self._bring(version.path.parent.name, building)
                    if not _holds(replace(version, path=building / "bundle")):
                        raise CorruptFile(
                            f"what MLflow has as {version.name}@{version.version} is not what was published",
                            where=shown(self.uri),
                            hint="use another version, or publish it again",
                        )
        return version.path

    def promote(self, name: str, version: int, alias: str = LIVE, why: str | None = None) -> Version:
        _check_alias(alias)
        _check_reason(why)
        self.find(name, str(version))
        with mlflow_errors(self.uri):
            self._move(name, "promote", alias, version, why)
            return self._one(name, version)

    def rollback(self, name: str, alias: str = LIVE, why: str | None = None) -> Version:
        """As every registry; a move that another program made is gone back on as well."""
        _check_reason(why)
        self.find(name)
        with mlflow_errors(self.uri):
            moves, aliases = self._standing(name)
            past = history(moves, alias)
            if alias in aliases and past[-1:] != [aliases[alias]]:
                past.append(aliases[alias])
            number = before(name, alias, past, aliases, self._where(name))
            self.find(name, str(number))
            self._move(name, "rollback", alias, number, why)
            return self._one(name, number)

    def log(self, name: str) -> list[dict[str, Any]]:
        self.find(name)
        with mlflow_errors(self.uri):
            return timeline(self._search(f"name = '{name}'"), self._standing(name)[0], shown(self.uri))

    @cached_property
    def _client(self) -> Any:
        return connect(self.uri, self.database)

    def _make_name(self, name: str) -> None:
        if self._model(name) is None:
            or_there_already(lambda: self._client.create_registered_model(name))

    def _add(self, name: str, bundle: Path, tags: Mapping[str, str], scores: Mapping[str, float]) -> int:
        """A run with the bundle, and a version that is made of it. Returns its number."""
        from mlflow.entities import Metric, Param

        client, moment = self._client, int(time.time() * 1000)
        run = client.create_run(self._experiment(), run_name=f"publish {name}", tags=dict(tags))
        run_id = run.info.run_id
        try:
            self._upload(run_id, bundle)
            named = {re.sub(r"[^A-Za-z0-9_. /-]", "_", key): value for key, value in scores.items()}
            metrics = [Metric(key, value, moment, 0) for key, value in named.items()]
            params = [Param(key, value) for key, value in settings_of(bundle).items()]
            client.log_batch(run_id, metrics=metrics, params=params)
            client.set_terminated(run_id)
            made = patiently(
                self.uri,
                lambda: client.create_model_version(name, run.info.artifact_uri, run_id, tags=dict(tags)),
                lambda: next(iter(self._search(f"name = '{name}' AND run_id = '{run_id}'")), None),
            )
        except BaseException:
            # A run that no version names would be clutter; MLflow keeps deleted ones until `mlflow gc`.
            with suppress(Exception):
                client.delete_run(run_id)
            raise
        return int(made.version)

    def _experiment(self) -> str:
        """Where the runs of all versions are kept; of a local file, beside it."""
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            place = None
            if self.database is not None:
                folder = self.database.with_name(f"{self.database.stem}-artifacts")
                folder.mkdir(exist_ok=True, mode=0o700)
                place = folder.as_uri()
            or_there_already(lambda: self._client.create_experiment(EXPERIMENT, artifact_location=place))
            found = self._client.get_experiment_by_name(EXPERIMENT)
        return str(found.experiment_id)

    def _upload(self, run_id: str, bundle: Path) -> None:
        """Give MLflow a bundle, and what lies beside it."""
        self._client.log_artifacts(run_id, str(bundle), "bundle")
        with tempfile.TemporaryDirectory() as folder:
            for path, named in beside(bundle, Path(folder) / "bundle"):
                self._client.log_artifact(run_id, str(shutil.copyfile(path, named)))

    def _bring(self, run_id: str, folder: Path) -> None:
        """Download a version's bundle, and what lies beside it."""
        self._client.download_artifacts(run_id, "bundle", str(folder))
        for one in self._client.list_artifacts(run_id):
            if one.path in _BESIDE:
                self._client.download_artifacts(run_id, one.path, str(folder))
        for path in folder.rglob("*"):
            if not path.is_symlink():
                path.chmod(0o700 if path.is_dir() else 0o600)

    def _move(
        self, name: str, action: str, alias: str, number: int, why: str | None, *, after: str = ""
    ) -> None:
        """Put a move into the log, then point the alias at what the log says last until both agree."""
        client = self._client
        latest = max((entry["when"] for entry in self._standing(name)[0]), default="")
        key, value = move_tag(
            uuid.uuid4().hex, name, action, alias, number, now(max(latest, after)), who(), why
        )
        patiently(self.uri, partial(client.set_registered_model_tag, name, key, value))
        for _ in range(ATTEMPTS):
            moves, aliases = self._standing(name)
            wanted = history(moves, alias)[-1]
            if aliases.get(alias) == wanted:
                return
            patiently(self.uri, partial(client.set_registered_model_alias, name, alias, str(wanted)))
        raise crowded(self.uri)

    def _standing(self, name: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """The moves of a name's aliases, oldest first, and where each points now."""
        model = self._model(name)
        moves = moves_of(model.tags if model else {}, name, shown(self.uri))
        return moves, {alias: int(version) for alias, version in (model.aliases if model else {}).items()}

    def _aliases(self, name: str) -> dict[str, int]:
        return self._standing(name)[1]

    def _one(self, name: str, number: int) -> Version:
        entry = self._client.get_model_version(name, str(number))
        return version_of(entry, self._aliases(name), self.cache, shown(self.uri))

    def _model(self, name: str) -> Any:
        """The registered model of this name, or None."""
        if self._nothing_yet:
            return None
        return next(iter(self._client.search_registered_models(f"name = '{name}'", max_results=1)), None)

    def _search(self, condition: str) -> list[Any]:
        """MLflow's entries of the versions that we published and that this is true of, by name, oldest first."""
        found: list[Any] = []
        token = None
        while not self._nothing_yet:
            page = self._client.search_model_versions(
                condition, max_results=_PAGE, order_by=["name ASC", "version_number ASC"], page_token=token
            )
            found += [one for one in page if DIGEST in one.tags and NAME.fullmatch(one.name)]
            token = page.token
            if not token:
                break
        return sorted(found, key=lambda one: (one.name, int(one.version)))

    @property
    def _nothing_yet(self) -> bool:
        """Whether the local file is not there: looking into it makes none."""
        return self.database is not None and "_client" not in self.__dict__ and not self.database.exists()

    def _where(self, name: str) -> str:
        return f"{name} in {shown(self.uri)}"


def _holds(version: Version) -> bool:
    """Whether the bundle on this machine is whole and the version's."""
    from bowerbird.store.bundle import open_bundle

    try:
        return open_bundle(version.path).digest == version.digest
    except BowerbirdError:
        return False


def _check_alias(alias: str) -> None:
    """MLflow's aliases are fewer: no dots, and no `latest` or `v2`, which mean something to it."""
    check_alias(alias)
    if "." in alias or alias == "latest" or re.fullmatch(r"v\d+", alias):
        raise UsageError(
            f"`{alias}` cannot be an alias in MLflow", hint="no dots, and not `latest` or `v` and a number"
        )


def _check_reason(why: str | None) -> None:
    if why is not None and len(why) > _LONGEST_REASON:
        raise UsageError(f"the reason is longer than MLflow keeps: at most {_LONGEST_REASON} characters")
