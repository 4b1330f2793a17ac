"""Commands that keep: publish, versions, promote, rollback; and list, doctor."""

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


def versions(name: str | None = None, *, output: Output = OUTPUT) -> None:
    """List the versions of a name, or of every name.

    Example: bowerbird versions poems

    Parameters
    ----------
    name
        A name in the registry.
    """
    from bowerbird import lifecycle

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


def _told(version: Any) -> dict[str, Any]:
    keys = ("name", "version", "digest", "created", "scores", "parent")
    return {key: getattr(version, key) for key in keys} | {
        "aliases": list(version.aliases),
        "path": str(version.path),
    }


def add(app: App) -> None:
    for command in (publish, versions, promote, rollback):
        app.command(command)
    app.command(list_, name="list")
    app.command(doctor)
