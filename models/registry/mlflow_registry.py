"""The model registry: runs, leaderboards, versions and the aliases that serving follows. The only user of MLflow."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlparse

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion as StoredVersion
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException

from models.evaluation.promotion_gate import GateDecision
from models.registry.remote_bundles import fetch_bundle, remove_bundle
from models.registry.serving_history import changes_after, find_serving, serving_tag
from models.registry.version_tags import GATE, tags_of_bundle, version_from_tags
from quantis.errors import Conflict, InvalidInput, NotFound
from quantis.types.registry import CANDIDATE, CHAMPION, Leaderboard, Model, ModelVersion, Serving, Traffic

_REFERENCE = re.compile(
    r"(?P<name>[a-z][a-z0-9_-]{0,62})(@(?P<alias>[a-z][a-z0-9_-]{0,62})|:(?P<version>\d{1,9}))?"
)
_ALIAS = re.compile(r"(?!v\d+$|latest$)[a-z][a-z0-9_-]{0,62}")
_PAGE = 1000
_BUNDLE = "bundle"
_TRAFFIC = "quantis.traffic"
_DELETED = "quantis.deleted"

Entity = TypeVar("Entity")


class Registry:
    """The models of one team. Slow to create, since MLflow opens and migrates its database: create one."""

    def __init__(self, tracking_uri: str, artifacts_root: str, team: str, cache: Path | None = None) -> None:
        """`cache` keeps bundles that are fetched from an object store; local ones are read in place."""
        self.team = team
        self._artifacts_root = artifacts_root.rstrip("/")
        self._cache = cache
        self._client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)

    def log_run(
        self,
        experiment: str,
        name: str,
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float | None] | None = None,
        tags: Mapping[str, str] | None = None,
        texts: Mapping[str, str] | None = None,
        folders: Mapping[str, Path] | None = None,
    ) -> str:
        """Log a finished run into the team's experiment; return its id. `texts` and `folders` are artifacts by name."""
        run = self._client.create_run(
            self._experiment(experiment), run_name=name, tags={"quantis.team": self.team, **(tags or {})}
        )
        run_id = str(run.info.run_id)
        for key, value in (params or {}).items():
            self._client.log_param(run_id, key, value)
        for key, figure in (metrics or {}).items():
            if figure is not None:
                self._client.log_metric(run_id, key, figure)
        for path, text in (texts or {}).items():
            self._client.log_text(run_id, text, path)
        for path, folder in (folders or {}).items():
            self._client.log_artifacts(run_id, str(folder), path)
        self._client.set_terminated(run_id)
        return run_id

    def log_leaderboard(self, board: Leaderboard, params: Mapping[str, object] | None = None) -> str:
        """Log a run with the leaderboard as an artifact and a child run per row; return the parent's id."""
        dataset_params = {"dataset": board.dataset, "dataset_version": board.dataset_version, "h": board.h}
        tags = {"quantis.experiment": board.experiment}
        parent = self.log_run(
            board.model,
            f"leaderboard {board.experiment}",
            params={**dataset_params, **(params or {})},
            tags=tags,
            texts={"leaderboard.json": board.model_dump_json(indent=2)},
        )
        for row in board.rows:
            figures = row.model_dump(include={"mase", "wql", "wape", "coverage_80", "seconds", "skill"})
            child = {"mlflow.parentRunId": parent, "quantis.family": row.family}
            child |= {"quantis.failed": row.failed[:5000]} if row.failed else {}
            self.log_run(
                board.model, row.model, params={"family": row.family}, metrics=figures, tags=tags | child
            )
        return parent

    def publish(
        self,
        model: str,
        bundle: Path,
        *,
        metrics: Mapping[str, float | None],
        gate: GateDecision,
        experiment: str | None = None,
    ) -> ModelVersion:
        """Keep a copy of the bundle as the model's next version and make it the candidate."""
        finite_metrics = {name: value for name, value in metrics.items() if value is not None}
        tags = tags_of_bundle(self.team, bundle, finite_metrics, gate, experiment)
        run_id = self.log_run(
            model, f"publish {tags['family']}", metrics=finite_metrics, tags=tags, folders={_BUNDLE: bundle}
        )
        source = f"{self._client.get_run(run_id).info.artifact_uri}/{_BUNDLE}"
        self._register(model)
        version = self._client.create_model_version(
            self._full(model), source, run_id=run_id, tags=tags
        ).version
        numbered = json.dumps(gate.with_version(int(version)).to_json())
        if numbered != tags[GATE]:
            self._client.set_model_version_tag(self._full(model), str(version), GATE, numbered)
        self._client.set_registered_model_alias(self._full(model), CANDIDATE, str(version))
        return self.get(model, int(version))

    def champion(self, model: str) -> ModelVersion | None:
        """Return the version that serves the model's name; None without one."""
        try:
            return self.resolve(f"{model}@{CHAMPION}")
        except NotFound:
            return None

    def promote(self, model: str, version: int, alias: str = CHAMPION) -> ModelVersion:
        """Point an alias at a version. Conflict when it is the champion's and the gate rejected the version."""
        self.check_promotion(model, version, alias)
        self._client.set_registered_model_alias(self._full(model), alias, str(version))
        self._record_serving(model)
        return self.get(model, version)

    def remove_alias(self, model: str, alias: str) -> None:
        """Let an alias mean no version any more."""
        self._client.delete_registered_model_alias(self._full(model), alias)
        self._record_serving(model)

    def hide_version(self, model: str, version: int) -> None:
        """Let nobody find a version any more, until `delete_version` removes it."""
        for alias in self._stored(model, version).aliases:
            self._client.delete_registered_model_alias(self._full(model), alias)
        self._client.set_model_version_tag(self._full(model), str(version), _DELETED, "true")

    def hide_model(self, model: str) -> None:
        """Let nobody find a model any more, until `delete_model` removes it."""
        self._registered(model)
        self._client.set_registered_model_tag(self._full(model), _DELETED, "true")

    def delete_version(self, model: str, version: int) -> None:
        """Remove the bundle of a version, then the version; its number is not given again. Nothing when it is gone."""
        with suppress(NotFound):
            stored = self._stored(model, version, hidden=True)
            for alias in stored.aliases:
                self._client.delete_registered_model_alias(self._full(model), alias)
            remove_bundle(str(stored.source))
            self._client.delete_model_version(self._full(model), str(version))

    def delete_model(self, model: str) -> None:
        """Remove the versions of a model with their bundles, then its name. Nothing when it is gone."""
        with suppress(NotFound):
            self._registered(model, hidden=True)
            for stored in list(self._stored_versions(model)):
                self.delete_version(model, int(stored.version))
            self._client.delete_registered_model(self._full(model))

    def check_promotion(self, model: str, version: int, alias: str = CHAMPION) -> ModelVersion:
        """Return the version if the alias may point at it; Conflict or InvalidInput otherwise."""
        if not _ALIAS.fullmatch(alias):
            raise InvalidInput(
                f"alias {alias!r} is not a name such as champion; v1, 7 and latest are reserved"
            )
        stored = self.get(model, version)
        if alias == CHAMPION and not stored.gate.get("passed"):
            reason = stored.gate.get("reason", "it was never compared")
            raise Conflict(
                f"{model}:{version} did not pass the gate ({reason}); train one that does, or keep it"
            )
        return stored

    def traffic(self, model: str) -> Traffic:
        """Return the shares of versions in the model's requests; one cheap look-up, safe to poll."""
        stored = self._registered(model).tags.get(_TRAFFIC)
        return Traffic.model_validate_json(stored) if stored else Traffic()

    def set_traffic(self, model: str, traffic: Traffic) -> Traffic:
        """Set the shares. Conflict when the gate rejected one of the versions."""
        self.check_traffic(model, traffic)
        self._client.set_registered_model_tag(self._full(model), _TRAFFIC, traffic.model_dump_json())
        self._record_serving(model)
        return traffic

    def serving_at(self, model: str, time: datetime) -> Serving:
        """Return which versions answered the model's name at a time; NotFound before the first that did."""
        return find_serving(model, self._registered(model).tags, time)

    def serving_changes(self, model: str, after: datetime) -> list[Serving]:
        """Return who answered the model's name from each recorded change after a time on, oldest first."""
        return changes_after(model, self._registered(model).tags, after)

    def _record_serving(self, model: str) -> None:
        champion = self.champion(model)
        name, text = serving_tag(champion.version if champion else None, self.traffic(model))
        self._client.set_registered_model_tag(self._full(model), name, text)

    def check_traffic(self, model: str, traffic: Traffic) -> None:
        """Check that each version with a share could be the champion; Conflict otherwise."""
        self._registered(model)
        for share in traffic.shares:
            self.check_promotion(model, share.version)

    def resolve(self, reference: str) -> ModelVersion:
        """Return the version of `name` (its champion), `name@alias` or `name:7`. One cheap look-up: safe to poll."""
        parsed = _REFERENCE.fullmatch(reference)
        if parsed is None:
            raise NotFound(f"model {reference!r} is not of the form name, name@alias or name:7")
        if parsed["version"]:
            return self.get(parsed["name"], int(parsed["version"]))
        alias = parsed["alias"] or CHAMPION
        remedy = (
            f"no model {parsed['name']!r} with a version called {alias!r}; train one, or promote a version"
        )
        stored = self._find(
            lambda: self._client.get_model_version_by_alias(self._full(parsed["name"]), alias), remedy
        )
        return self._version(stored)

    def get(self, model: str, version: int) -> ModelVersion:
        return self._version(self._stored(model, version))

    def versions(self, model: str) -> list[ModelVersion]:
        """Return the versions, newest first; NotFound for a model that does not exist."""
        registered = self._registered(model)
        aliases: dict[int, list[str]] = {}
        for alias, version in registered.aliases.items():
            aliases.setdefault(int(version), []).append(alias)
        versions = [
            self._version(each, aliases.get(int(each.version), []))
            for each in self._stored_versions(model)
            if _DELETED not in each.tags
        ]
        return sorted(versions, key=lambda version: -version.version)

    def models(self) -> list[Model]:
        """Return the team's models by name."""
        registered = self._pages(
            lambda token: self._client.search_registered_models(
                f"name LIKE '{self.team}.%'", max_results=_PAGE, page_token=token
            )
        )
        # LIKE takes _ for any letter, so another team's names can be among them.
        prefix = self._full("")
        names = [
            each.name.removeprefix(prefix)
            for each in registered
            if each.name.startswith(prefix) and _DELETED not in each.tags
        ]
        return [self._model(name) for name in sorted(names)]

    def download(self, version: ModelVersion) -> Path:
        """Return the version's bundle as a local folder, downloaded where it is remote."""
        source = str(self._stored(version.model, version.version).source)
        address = urlparse(source)
        if address.scheme in ("", "file"):
            return Path(unquote(address.path))
        if self._cache is None:
            raise InvalidInput(
                f"bundle {source!r} is remote and the registry has no cache folder; give it one"
            )
        return fetch_bundle(source, self._cache / self.team / version.model / str(version.version))

    def _model(self, name: str) -> Model:
        versions = self.versions(name)
        champion = next((version.version for version in versions if CHAMPION in version.aliases), None)
        latest = versions[0].version if versions else 0
        return Model(name=name, champion=champion, latest=latest, versions=len(versions))

    def _version(self, stored: StoredVersion, aliases: Sequence[str] | None = None) -> ModelVersion:
        return version_from_tags(
            stored.name.removeprefix(self._full("")),
            int(stored.version),
            stored.tags,
            aliases=sorted(stored.aliases if aliases is None else aliases),
            created_at=datetime.fromtimestamp(stored.creation_timestamp / 1000, UTC),
        )

    def _registered(self, model: str, *, hidden: bool = False) -> RegisteredModel:
        remedy = f"no model {model!r}; train one"
        stored = self._find(lambda: self._client.get_registered_model(self._full(model)), remedy)
        if _DELETED in stored.tags and not hidden:
            raise NotFound(remedy)
        return stored

    def _stored(self, model: str, version: int, *, hidden: bool = False) -> StoredVersion:
        remedy = f"no version {version} of model {model!r}; list them to see which there are"
        full, number = self._full(model), str(version)
        stored = self._find(lambda: self._client.get_model_version(full, number), remedy)
        if _DELETED in stored.tags and not hidden:
            raise NotFound(remedy)
        return stored

    def _stored_versions(self, model: str) -> Iterator[StoredVersion]:
        """Yield the versions of a model, with those that are deleted and still there."""
        return self._pages(
            lambda token: self._client.search_model_versions(
                f"name='{self._full(model)}'", max_results=_PAGE, page_token=token
            )
        )

    def _full(self, model: str) -> str:
        return f"{self.team}.{model}"

    def _register(self, model: str) -> None:
        try:
            self._client.create_registered_model(self._full(model))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _experiment(self, name: str) -> str:
        full = self._full(name)
        try:
            return str(self._client.create_experiment(full, f"{self._artifacts_root}/{self.team}/{name}"))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return str(self._client.get_experiment_by_name(full).experiment_id)

    def _find(self, lookup: Callable[[], Entity], remedy: str) -> Entity:
        try:
            return lookup()
        except MlflowException as error:
            # An unknown alias comes as an invalid parameter.
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise NotFound(remedy) from error
            raise

    def _pages(self, search: Callable[[str | None], Any]) -> Iterator[Any]:
        token: str | None = None
        while True:
            page = search(token)
            yield from page
            token = page.token
            if not token:
                return
