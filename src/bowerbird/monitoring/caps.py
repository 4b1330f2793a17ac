"""Caps on who and what may fill new data: no group has more than its share of what is kept in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def over(
    sizes: Sequence[int], groups: Mapping[str, Sequence[int]], shares: Mapping[str, float]
) -> dict[int, str]:
    """Document -> the group over whose share it is, for all that have to go.

    A group is cut until it has at most its share of what is left, whatever other groups lose meanwhile: of two
    floods neither makes room for the other. A group alone with a share below 1 loses everything.

    Args:
        sizes: of every document.
        groups: by name, the documents that count together, those to keep longest first. They may overlap.
        shares: of all that is kept, from 0 to 1, by group.
    """
    gone: dict[int, str] = {}
    waiting = {name: list(members) for name, members in groups.items()}
    total = sum(sizes)
    sums = {name: sum(sizes[one] for one in members) for name, members in waiting.items()}
    of: dict[int, list[str]] = {}
    for name, members in waiting.items():
        for one in members:
            of.setdefault(one, []).append(name)
    while True:
        excess = {
            name: sums[name] - shares[name] * total for name in sums if sums[name] > shares[name] * total
        }
        if not excess:
            return gone
        worst = max(excess, key=lambda name: (excess[name], name))
        while waiting[worst] and sums[worst] > shares[worst] * total:
            one = waiting[worst].pop()
            if one in gone:
                continue
            gone[one] = worst
            total -= sizes[one]
            for name in of[one]:
                sums[name] -= sizes[one]
