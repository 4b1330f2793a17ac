"""Replace private data by a placeholder: e-mail addresses, web addresses, telephone numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import replace

from bowerbird.data.cleaning.step import CleanConfig, Private, Step
from bowerbird.data.item import Item
from bowerbird.data.normaliser import Normaliser

PRIVATE: tuple[Private, ...] = ("url", "email", "phone")
"""In the order they are replaced: a web address may hold an `@` or a long number."""

# Repetitions are bounded and begin only at the start of a run: the time stays linear on any text.
# None may run over the marker that begins the next turn of a chat.
_URL = re.compile(
    r"""(?<![\w])(?:https?://|ftp://|www\.)[^\s<>"'`{}|\\^\ufdd0-\ufdef]{1,2000}(?<![.,;:!?)\]])""",
    re.IGNORECASE,
)
_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w+%-][\w.+%-]{0,63}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,6}\.[^\W\d_][\w-]{1,62}(?![\w@])"
)
_PHONE = re.compile(r"(?<![\w.,/-])(?:\+|00)?\(?\d{1,4}\)?(?:[ ./-]?\(?\d{1,4}\)?){1,7}(?![\w/-]|[.,]\d)")
_DIGIT = re.compile(r"\d")
_NO_PHONE = re.compile(r"\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{2,4}|\d+\.\d+$")
"""Dates in any order, and numbers with a decimal point."""


def build(config: CleanConfig, normaliser: Normaliser) -> Step | None:
    if not config.mask:
        return None
    kinds = config.mask

    def mask(item: Item) -> Item:
        text = masked(item.content, kinds)
        return item if text == item.content else replace(item, content=text)

    return mask


def masked(text: str, kinds: Collection[Private] = PRIVATE) -> str:
    """A text with `<url>`, `<email>` and `<phone>` in the place of private data of these kinds."""
    for kind in PRIVATE:
        if kind in kinds and _MAY_HOLD[kind](text):
            text = _REPLACE[kind](text)
    return text


def _phones(text: str) -> str:
    return _PHONE.sub(lambda found: "<phone>" if _is_phone(found.group()) else found.group(), text)


def _is_phone(candidate: str) -> bool:
    """Seven to fifteen digits (ITU-T E.164), marked as a number or grouped like one, and no date."""
    digits = re.sub(r"\D", "", candidate)
    if not 7 <= len(digits) <= 15 or _NO_PHONE.match(candidate):
        return False
    if candidate.startswith(("+", "00", "(")):
        return True
    groups = re.split(r"\D+", candidate.strip("()"))
    if len(groups) == 1:  # a bare run of digits: national numbers begin with 0
        return digits.startswith("0") and len(digits) >= 9
    return len(digits) >= 9 or [len(group) for group in groups] == [3, 4]


_REPLACE: dict[Private, Callable[[str], str]] = {
    "url": lambda text: _URL.sub("<url>", text),
    "email": lambda text: _EMAIL.sub("<email>", text),
    "phone": _phones,
}
_MAY_HOLD: dict[Private, Callable[[str], object]] = {
    "url": lambda text: "://" in text or "www." in text.lower(),
    "email": lambda text: "@" in text,
    "phone": _DIGIT.search,
}
"""Whether it is worth looking: most texts hold none of these, and are looked through in a tenth of the time."""
