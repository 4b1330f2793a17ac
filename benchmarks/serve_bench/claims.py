"""Claims and what was found of them: each is said in a line, and one that does not hold makes the exit code 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bowerbird.base.files import write_json
from tables import show
from workplace import read


@dataclass(frozen=True)
class Claim:
    what: str
    holds: bool
    found: str
    """What was measured or counted."""

    def line(self) -> str:
        return f"{'holds' if self.holds else 'FALSE'}: {self.what}: {self.found}"


@dataclass
class Verdict:
    """What one check found."""

    name: str
    claims: list[Claim] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What is told beside the claims."""

    def claim(self, what: str, holds: bool, found: str) -> None:
        self.claims.append(Claim(what, holds, found))

    @property
    def holds(self) -> bool:
        return all(claim.holds for claim in self.claims)

    def tell(self, out: Path) -> None:
        """Show it, and write it beside the others as NAME.json."""
        write_json(
            out / f"{self.name}.json",
            {
                "commit": read(out / "machine.json").get("commit"),
                "holds": self.holds,
                "claims": [vars(claim) for claim in self.claims],
                "notes": self.notes,
                "figures": self.figures,
            },
        )
        for line in self.lines():
            show(line)

    def lines(self) -> list[str]:
        told = [f"{self.name}: {'all claims hold' if self.holds else 'NOT ALL CLAIMS HOLD'}"]
        return [*told, *(f"  {claim.line()}" for claim in self.claims), *(f"  {note}" for note in self.notes)]


def examples(several: Sequence[str], most: int = 3) -> str:
    """The first few of what was found, for a line."""
    more = f" and {len(several) - most} more" if len(several) > most else ""
    return "; ".join(several[:most]) + more


def megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB"
