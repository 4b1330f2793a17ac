"""Which codec suits a text: pieces read more of it in the same minutes, characters learn more from little.

Measured on 11 MB of speeches at three minutes (docs/log.md): 2,048 pieces 1.525 bits a byte, characters 1.717.
"""

from __future__ import annotations

from bowerbird.data.codecs.codec import CodecConfig, Texts
from bowerbird.data.codecs.pieces import count_characters

MUCH_TEXT = 4_000_000
"""Characters of training text from which pieces are taken."""
PIECES = 2048
ALPHABET = 400
"""More distinct characters than this are no alphabet: byte pieces would cut each of them up."""


def choose_codec(config: CodecConfig, texts: Texts) -> CodecConfig:
    """The settings with `auto` replaced by a codec's name."""
    counts = count_characters(texts)
    alphabet = int((counts >= max(config.min_count, 10)).sum())
    if counts.sum() >= MUCH_TEXT and alphabet <= ALPHABET and config.vocab_size >= PIECES:
        return config.model_copy(update={"name": "bpe", "vocab_size": PIECES})
    return config.model_copy(update={"name": "characters"})
