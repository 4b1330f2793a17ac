"""Reading a prompt by the network's own scan, in pieces, so that nobody beside it waits for all of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bowerbird.models.rnn import RNN, State
from bowerbird.sampling.logprobs import TokenLogprobs, joined, token_logprobs, unknown
from bowerbird.sampling.request import TokenRequest

PIECE = 2048
"""Tokens read at once. Pieces are counted from the prompt's own beginning: its company changes no bit."""
_MOST_SCANS = 16
"""Begun together: each takes some milliseconds, however short its prompt."""


class PromptScan:
    """A request's prompt on its way into a state of one row."""

    def __init__(self, network: RNN, request: TokenRequest):
        self.network = network
        self.logits: Tensor | None = None
        """(V,) after what was read; None where nothing was."""
        self.state: State = network.start(1)
        self._prompt = np.ascontiguousarray(request.prompt, np.int64)
        self._at = 0
        self._alternatives = min(request.alternatives, network.vocab_size)
        self._told: list[TokenLogprobs] | None = [] if request.prompt_logprobs else None
        if request.start is not None:
            device = network.embedding.weight.device
            self.state = tuple(torch.from_numpy(part.copy()).to(device) for part in request.start.parts)
            self.logits = torch.from_numpy(request.start.logits.copy()).to(device)

    @property
    def left(self) -> int:
        """Tokens not read yet."""
        return len(self._prompt) - self._at

    @property
    def logprobs(self) -> TokenLogprobs | None:
        """Of the prompt, where they are wanted and it has any token."""
        return joined(self._told) if self._told else None

    @torch.no_grad()
    def advance(self) -> int:
        """Read the next piece; how many tokens that was."""
        piece = self._prompt[self._at : self._at + PIECE]
        if not len(piece):
            return 0
        tokens = torch.from_numpy(piece).to(self.network.embedding.weight.device)
        logits, self.state = self.network(tokens[None], self.state)
        if self._told is not None:
            self._tell(logits[0].float(), piece)
        self.logits = logits[0, -1].float()
        self._at += len(piece)
        return len(piece)

    def _tell(self, logits_TV: Tensor, piece: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        """Note down the log-probabilities of a piece, each by the logits before it."""
        assert self._told is not None
        if self.logits is None:
            self._told.append(unknown(self._alternatives))
            piece = piece[1:]
            before = logits_TV[:-1]
        else:
            before = torch.cat([self.logits[None], logits_TV[:-1]])
        if len(piece):
            self._told.append(token_logprobs(before.cpu().numpy(), piece, self._alternatives))


def read_some(scans: Sequence[PromptScan]) -> None:
    """Short prompts whole, as many as make a piece together, the shortest first; and a piece of what comes next."""
    spent = 0
    for scan in sorted(scans, key=lambda scan: scan.left)[:_MOST_SCANS]:
        spent += scan.left
        scan.advance()
        if spent > PIECE:
            return
