"""Normalisation that travels with a model: the same for training text, held-out text and prompts."""

from __future__ import annotations

import unicodedata
from typing import Literal

from bowerbird.base.config import Config


class Normaliser(Config):
    """What every text of a model goes through before it becomes numbers."""

    unicode: Literal["NFC", "NFKC", "none"] = "NFC"
    """Unicode normal form (Unicode Standard Annex 15)."""
    lowercase: bool = False
    """Capital letters become small ones."""

    def __call__(self, text: str) -> str:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if text.isascii():
            return text.lower() if self.lowercase else text
        if self.lowercase:
            text = text.lower()
        return text if self.unicode == "none" else unicodedata.normalize(self.unicode, text)
