"""Hands over what a turn brought: once to each event loop, for a hand-over a token would cost more than the token."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from typing import Any

from bowerbird.base.errors import BowerbirdError
from bowerbird.serving.errors import Fault
from bowerbird.serving.ticket import Piece, Ticket

Letters = dict[Ticket, list[Piece | BowerbirdError]]

log = logging.getLogger(__name__)


class Delivery:
    """What is new for askers, and what there is to tell an observer, until both are handed over."""

    def __init__(self) -> None:
        self._by_loop: dict[asyncio.AbstractEventLoop | None, Letters] = {}
        self._told: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def add(self, ticket: Ticket, new: Piece | BowerbirdError) -> None:
        if isinstance(new, Piece):
            ticket.handed += new.size
        self._by_loop.setdefault(ticket.loop, {}).setdefault(ticket, []).append(new)

    def tell(self, call: Callable[..., None], *arguments: Any) -> None:
        """Call an observer once the askers have theirs."""
        self._told.append((call, arguments))

    def hand_over(self) -> None:
        """To each event loop at once, and directly to askers in threads."""
        by_loop, self._by_loop = self._by_loop, {}
        for loop, letters in by_loop.items():
            if loop is None:
                _hand_out(letters)
                continue
            try:
                loop.call_soon_threadsafe(_hand_out, letters)
            except RuntimeError:  # the loop is closed: nobody is left to read
                for ticket in letters:
                    ticket.cancelled = True
                    ticket.ring()
        told, self._told = self._told, []
        for call, arguments in told:
            tell(call, *arguments)


def tell(call: Callable[..., None], *arguments: Any) -> None:
    """Call an observer; who counts answers must not end them."""
    try:
        call(*arguments)
    except Exception as error:
        report("an observer failed", error)


def _hand_out(letters: Letters) -> None:
    for ticket, news in letters.items():
        ticket.receive(news)


def told(error: Exception) -> BowerbirdError:
    """What an asker hears of an error: one of ours in its own words, a fault by its name only."""
    return error if isinstance(error, BowerbirdError) else Fault()


def report(what: str, error: Exception) -> None:
    """Log where a fault happened. Its message is left out, for it may hold what somebody wrote."""
    if not isinstance(error, BowerbirdError):
        places = "".join(traceback.format_tb(error.__traceback__))
        log.error("%s: %s\n%s", what, type(error).__name__, places)


def warn(what: str, error: Exception) -> None:
    """Log what the server goes on without: an error of ours in a line, a fault by its place."""
    if isinstance(error, BowerbirdError):
        log.warning("%s: %s", what, " ".join(str(error).split()))
    else:
        report(what, error)
