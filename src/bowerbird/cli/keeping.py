"""Commands that keep: publish, versions, diff, promote, rollback; and list, doctor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from bowerbird.cli import show
from bowerbird.cli.making import space
from bowerbird.cli.options import OUTPUT, Output


def publish(
    model: str,
    name: str,
    *,
    alias: str | None = None,
    why: str | None = None,
    precision: str | None = None,
    weights_only: Annotated[bool, Parameter(negative="")] = False,
    output: Output = OUTPUT,
) -> None:
    """Copy a model into the registry as the next version of a name.

    Example: bowerbird publish runs/poems poems --alias live

    Parameters
    ----------
    model
        A run, a bundle, or another version.
    name
        The name to publish under.
    alias
        An alias to point at it, such as live.
    why
        A reason, for the log.
    precision
        Keep its weights as bfloat16, float16 or int8; what that costs is measured where its dataset is known.
    weights_only
        Leave out the networks that only training needs.
    """
    from bowerbird import lifecycle

    version = lifecycle.publish(
        model,
        name,
        alias=alias,
        why=why,
        precision=precision,
        weights_only=weights_only,
        workspace=space(output),
    )
    told = _told(version)
    aliases = "".join(f", {name}@{found}" for found in told["aliases"])
    lines = [f"published {name}@{version.version}{aliases}", *_costs(version.scores)]
    if precision not in (None, "float32") and len(lines) == 1:
        show.warn(output, f"its dataset is not known here, so what {precision} costs was not measured")
    show.result(output, told, lines, f"bowerbird serve {name}")


def versions(
    name: str | None = None,
    *,
    log: Annotated[bool, Parameter(negative="")] = False,
    output: Output = OUTPUT,
) -> None:
    """List the versions of a name, or of every name; or what was done under a name, by whom, and why.

    Example: bowerbird versions poems --log

    Parameters
    ----------
    name
        A name in the registry.
    log
        List what was done under the name instead: when, who, what, why.
    """
    from bowerbird import lifecycle

    if log:
        _log(name, output)
        return
    found = [_told(version) for version in lifecycle.versions(name, workspace=space(output))]
    rows = [
        (
            f"{row['name']}@{row['version']}",
            " ".join(row["aliases"]) or "-",
            row["created"],
            " ".join(f"{key}={value:.3f}" for key, value in list(row["scores"].items())[:2]),
            row["digest"][:19],
        )
        for row in found
    ]
    lines = (
        show.table(rows, ("version", "aliases", "created", "scores", "digest")) if rows else ["no models yet"]
    )
    show.result(output, {"versions": found}, lines, None if rows else "bowerbird publish RUN NAME")


def diff(model: str, other: str, *, output: Output = OUTPUT) -> None:
    """Show what differs between two models: settings, data, scores.

    Example: bowerbird diff poems@1 poems@2

    Parameters
    ----------
    model
        A run, a bundle, or a name as poems@1.
    other
        Another.
    """
    from bowerbird import lifecycle

    found = lifecycle.diff(model, other, workspace=space(output))
    first, second = found["models"]
    rows = [
        (key, first[key], second[key], "-") for key in ("step", "parameters") if first[key] != second[key]
    ]
    rows += [
        (
            row.get("key") or row["name"],
            _value(row["first"]),
            _value(row["second"]),
            _value(row.get("change"), "+.4g"),
        )
        for part in ("config", "data", "scores")
        for row in found[part]
    ]
    head = ("", model, other, "change")
    lines = show.table(rows, head) if rows else ["their settings, data and scores are equal"]
    show.result(
        output, found, ["one and the same model"] if found["same"] else lines, f"bowerbird inspect {other}"
    )


def promote(version: str, *, alias: str = "live", why: str | None = None, output: Output = OUTPUT) -> None:
    """Move an alias to a version.

    Example: bowerbird promote poems@3 --alias live

    Parameters
    ----------
    version
        NAME@VERSION.
    alias
        The alias to move.
    why
        A reason, for the log.
    """
    from bowerbird import lifecycle
    from bowerbird.base.errors import UsageError

    name, at, number = version.partition("@")
    if not at or not number.isdecimal():
        raise UsageError(f"promote wants NAME@VERSION, not `{version}`", hint="bowerbird promote poems@3")
    moved = lifecycle.promote(name, int(number), alias=alias, why=why, workspace=space(output))
    show.result(
        output, _told(moved), [f"{name}@{alias} is now version {moved.version}"], f"bowerbird versions {name}"
    )


def rollback(name: str, *, alias: str = "live", why: str | None = None, output: Output = OUTPUT) -> None:
    """Move an alias back to where it was before its last move.

    Example: bowerbird rollback poems

    Parameters
    ----------
    name
        A name in the registry.
    alias
        The alias to move back.
    why
        A reason, for the log.
    """
    from bowerbird import lifecycle

    moved = lifecycle.rollback(name, alias=alias, why=why, workspace=space(output))
    show.result(
        output, _told(moved), [f"{name}@{alias} is now version {moved.version}"], f"bowerbird versions {name}"
    )


def list_(shelf: str, *, output: Output = OUTPUT) -> None:
    """List the parts on a shelf.

    Example: bowerbird list cells

    Parameters
    ----------
    shelf
        models, cells, codecs, sources, cleaning, metrics, kinds, presets (of --size), registries, exporters or
        precisions.
    """
    from bowerbird.inspection import shelf_names

    names = shelf_names(shelf)
    show.result(output, {"shelf": shelf, "names": names}, names)


def doctor(*, output: Output = OUTPUT) -> None:
    """Check this machine: packages, extras, threads, device, workspace, disk.

    Example: bowerbird doctor
    """
    from bowerbird.inspection import doctor as examine

    checks = examine(space(output))
    rows = [(check["name"], "ok" if check["ok"] else "-", check["found"]) for check in checks]
    show.result(output, {"checks": checks}, show.table(rows, ("check", "", "found")))


def _costs(scores: Mapping[str, float]) -> list[str]:
    """What fewer bits cost, a line a score."""
    lost = {name.removesuffix("_lost"): value for name, value in scores.items() if name.endswith("_lost")}
    return [
        f"{name.removeprefix('valid_').replace('_', ' ')}: {scores[name]:.4f}, {value:+.4f} by fewer bits"
        for name, value in lost.items()
    ]


def _log(name: str | None, output: Output) -> None:
    """Show what was done under a name."""
    from bowerbird import lifecycle
    from bowerbird.base.errors import UsageError

    if name is None:
        raise UsageError("--log is of one name", hint="bowerbird versions NAME --log")
    entries = lifecycle.history(name, workspace=space(output))
    rows = []
    for entry in entries:
        of = f"{name}@{entry['alias']}" if entry["alias"] else name
        before = "" if entry["previous"] is None else f"{entry['previous']} -> "
        why = " ".join((entry["why"] or "-").split())
        rows.append((entry["when"], entry["who"], entry["action"], of, f"{before}{entry['version']}", why))
    lines = show.table(rows, ("when", "who", "what", "of", "version", "why"))
    show.result(output, {"name": name, "log": entries}, lines)


def _value(value: Any, form: str = ".4g") -> str:
    """A setting, a digest or a score, short enough for a column."""
    if value is None:
        return "-"
    text = f"{value:{form}}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _told(version: Any) -> dict[str, Any]:
    keys = ("name", "version", "digest", "created", "scores", "parent")
    return {key: getattr(version, key) for key in keys} | {
        "aliases": list(version.aliases),
        "origin": dict(version.origin),
        "path": str(version.path),
    }


def add(app: App) -> None:
    for command in (publish, versions, diff, promote, rollback):
        app.command(command)
    app.command(list_, name="list")
    app.command(doctor)
