"""What a text has said before, it is likely to say again: matches of the newest tokens in the stream's own past.

A continuous cache (Grave et al. 2017, arXiv:1612.04426) whose keys are the tokens themselves, as in the match
models of data compression. Wherever the last tokens stood before, what followed there gains weight, the more
the longer the match: p'(v) = (p(v) + sum of weights of matches followed by v) / (1 + sum of all weights).
What followed often weighs so much at most that something else is always possible: a text that once says the same
twice would else say nothing but that.

B rows, T time, N = B x T positions, V tokens, W window, M matches. The state is (B, W): the tokens read
last plus one, the newest last, 0 where none was read.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from bowerbird.base.config import Config
from bowerbird.models.ngrams import START

LONGEST = 16
"""Longer matches count as this long."""
HEAVIEST = 16.0
"""What all matches with one continuation weigh together at most."""
SURPRISE = 60.0
"""Nats above which a token counts as no less likely, so that nothing overflows."""


class CacheConfig(Config):
    """The cache of a stream's own past."""

    window: int = Field(1024, ge=1, le=1 << 20)
    """Tokens it looks back on."""
    shortest: int = Field(3, ge=1, le=LONGEST)
    """Tokens that must be the same for a match."""


class Cache(nn.Module):
    def __init__(self, config: CacheConfig, vocab_size: int, width: int):
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        lengths = LONGEST - config.shortest + 1
        # Fitted to a table alone, weights rose about so from the shortest matches to the longest (docs/log.md).
        self.by_length = nn.Parameter(torch.linspace(-3.5, 0.0, lengths) if lengths > 1 else torch.zeros(1))
        self.gate = nn.Parameter(torch.zeros(width))

    def start(self, rows: int) -> Tensor:
        """A past of nothing: (rows, W)."""
        return torch.zeros(rows, self.config.window, device=self.gate.device)

    def forward(
        self, logits_BTV: Tensor, x_BTD: Tensor, tokens_BT: Tensor, before_BW: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits with the past weighed in (B, T, V), and the past after the last token (B, W)."""
        stream_BS = torch.cat([before_BW.long(), tokens_BT + 1], 1)
        after = stream_BS[:, -self.config.window :].to(before_BW.dtype)
        row, time, place = self._matches(stream_BS)
        if not len(row):
            return logits_BTV, after
        here = time + self.config.window
        length = self._lengths(stream_BS, row, here, place)
        gates_BT = (x_BTD * self.gate).sum(-1).float()
        weights_M = (self.by_length[length - self.config.shortest] + gates_BT[row, time]).exp()
        position = row * tokens_BT.shape[1] + time
        following = stream_BS[row, place + 1] - 1
        cells, which = torch.unique(position * self.vocab_size + following, return_inverse=True)
        gained = weights_M.new_zeros(len(cells)).index_add(0, which, weights_M).clamp(max=HEAVIEST)
        flat = logits_BTV.flatten()
        likely = logits_BTV.logsumexp(-1).flatten()[cells // self.vocab_size] - flat[cells]
        raised = torch.log1p(gained * likely.clamp(max=SURPRISE).exp())
        return flat.index_add(0, cells, raised).view_as(logits_BTV), after

    def _matches(self, stream_BS: Tensor) -> tuple[Tensor, ...]:
        """Row, time, and place in the stream where an earlier match ends: three (M,)."""
        window, shortest = self.config.window, self.config.shortest
        documents = (stream_BS == START + 1).cumsum(1)
        size = stream_BS.shape[1]
        keys = documents[:, shortest - 1 :]
        read = torch.ones_like(keys, dtype=torch.bool)
        for back in range(shortest):
            part = stream_BS[:, shortest - 1 - back : size - back]
            keys = keys * (self.vocab_size + 1) + part  # wraps round; lengths are counted on the tokens
            read = read & (part > 0)
        keys = torch.where(read, keys, torch.arange(-1, -size + shortest - 2, -1, device=keys.device))
        keys = nn.functional.pad(keys, (shortest - 1, 0), value=-(1 << 62))
        times = torch.arange(size - window, device=keys.device)
        places = torch.arange(size, device=keys.device)
        earlier = (places < times[:, None] + window) & (places >= times[:, None])
        found = (keys[:, window:, None] == keys[:, None, :]) & earlier
        return found.nonzero(as_tuple=True)

    def _lengths(self, stream_BS: Tensor, row: Tensor, here: Tensor, place: Tensor) -> Tensor:
        """How many tokens are the same, counted back from each match: (M,), `shortest` to `LONGEST`."""
        length = torch.full_like(row, self.config.shortest)
        same = torch.ones_like(row, dtype=torch.bool)
        for back in range(self.config.shortest, LONGEST):
            earlier = place - back
            there = stream_BS[row, earlier.clamp(min=0)]
            same = same & (earlier >= 0) & (there > 0) & (there == stream_BS[row, (here - back).clamp(min=0)])
            length += same
        return length
