"""Prometheus' text format, read as a scraper reads it."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Scraped:
    """One answer of `/metrics`."""

    types: dict[str, str]
    """By a metric's name, without the `_total` of counters."""
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]
    """By the sample's name and labels."""

    def value(self, name: str, **labels: str) -> float:
        """A sample's value; one that is not there has counted nothing."""
        return self.samples.get((f"bowerbird_{name}", frozenset(labels.items())), 0.0)

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels, whatever others they have."""
        wanted = frozenset(labels.items())
        return sum(
            value
            for (found, with_labels), value in self.samples.items()
            if found == f"bowerbird_{name}" and wanted <= with_labels
        )

    def labels(self, name: str) -> set[str]:
        """The names of a sample's labels."""
        return {
            label
            for (found, with_labels) in self.samples
            if found == f"bowerbird_{name}"
            for label, _ in with_labels
        }


def scraped(text: bytes | str) -> Scraped:
    written = text.decode() if isinstance(text, bytes) else text
    types: dict[str, str] = {}
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(written):
        types[family.name] = family.type
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in samples, f"{key} is told twice"
            samples[key] = sample.value
    return Scraped(types, samples)
