"""Names, numbers and aliases: which are allowed, and which version they mean. The same in every registry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os import PathLike

from bowerbird.base.errors import NotFound, Refused, UsageError, nearest

LIVE = "live"
"""The alias that a bare name means."""
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check_name(name: str, noun: str = "a name") -> None:
    """Raise UsageError for a name that could leave its folder or confuse."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"`{name}` cannot be used as {noun}",
            hint="up to 64 of a-z, 0-9, dot, dash and underscore, beginning with a letter or a digit",
        )


def check_alias(alias: str) -> None:
    check_name(alias, "an alias")
    if alias.isdecimal():
        raise UsageError(f"`{alias}` cannot be an alias", hint="only digits mean a version number")


def choose(
    name: str,
    selector: str | None,
    numbers: Sequence[int],
    aliases: Mapping[str, int],
    where: str | PathLike[str],
) -> int:
    """The number that a number or an alias means; without one the live one, else the newest of `numbers`.

    Raises:
        NotFound: it means none of them.
    """
    if selector is None:
        number = aliases.get(LIVE, max(numbers))
    elif selector.isdecimal():
        number = int(selector) if len(selector) < 10 else 0
    elif selector in aliases:
        number = aliases[selector]
    else:
        raise no_alias(name, selector, aliases, where)
    if number not in numbers:
        raise NotFound(
            f"`{name}` has no version {number}",
            where=where,
            hint=f"its versions: {', '.join(map(str, numbers))}",
        )
    return number


def no_name(name: str, known: Sequence[str], where: str | PathLike[str]) -> NotFound:
    """Nothing is published under a name; what is."""
    near = nearest(name, known)
    hint = f"did you mean `{near}`? " if near else ""
    hint += (
        f"published: {', '.join(known)}"
        if known
        else "nothing is published yet: bowerbird publish MODEL NAME"
    )
    return NotFound(f"nothing is published as `{name}`", where=where, hint=hint)


def no_alias(name: str, alias: str, aliases: Mapping[str, int], where: str | PathLike[str]) -> NotFound:
    """A name has no such alias; which it has."""
    near = nearest(alias, aliases)
    hint = f"did you mean `{name}@{near}`? " if near else ""
    hint += f"its aliases: {', '.join(sorted(aliases)) or 'none'}"
    return NotFound(f"`{name}` has no alias `{alias}`", where=where, hint=hint)


def before(
    name: str, alias: str, history: Sequence[int], aliases: Mapping[str, int], where: str | PathLike[str]
) -> int:
    """Where an alias pointed before it pointed at the last of `history`.

    Raises:
        NotFound: there is no such alias.
        Refused: it never pointed anywhere else.
    """
    if not history:
        raise no_alias(name, alias, aliases, where)
    if len(history) < 2:
        raise Refused(
            f"`{name}@{alias}` has pointed at version {history[0]} only: there is nothing to go back to",
            where=where,
            hint=f"bowerbird promote {name}@VERSION --alias {alias}",
        )
    return history[-2]
