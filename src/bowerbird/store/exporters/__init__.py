"""The shelf of exporters: the formats a model can be written to."""

from __future__ import annotations

from bowerbird.base.shelf import Shelf
from bowerbird.store.exporters.exporter import Exported, Exporter, Port, Runner

EXPORTERS: Shelf[Exporter] = Shelf("exporter")

__all__ = ["EXPORTERS", "Exported", "Exporter", "Port", "Runner"]
