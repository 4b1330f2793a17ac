"""Masks events before they are written, by the code that masks what models learn from."""

from __future__ import annotations

from dataclasses import replace

from bowerbird.data.cleaning.mask import masked
from bowerbird.monitoring.events import Event


def masked_event(event: Event) -> Event:
    """The event with placeholders for the e-mail addresses, web addresses and telephone numbers in its texts, and
    in its id, which its asker may have chosen. Sessions and keys keep their names: one deletes by them."""
    found = {
        name: masked(text)
        for name, text in (("id", event.id), ("prompt", event.prompt), ("output", event.output))
        if text
    }
    changed = {name: text for name, text in found.items() if text != getattr(event, name)}
    return replace(event, **changed) if changed else event  # type: ignore[arg-type]
