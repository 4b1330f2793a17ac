"""The shelf of codecs: content to numbers and back."""

from collections.abc import Mapping
from typing import Any

from bowerbird.base.errors import CorruptFile
from bowerbird.base.shelf import Shelf
from bowerbird.data.codecs.bpe import BytePairs
from bowerbird.data.codecs.bytes import Bytes
from bowerbird.data.codecs.choice import choose_codec
from bowerbird.data.codecs.codec import Codec, CodecConfig, Decoder, Texts
from bowerbird.data.codecs.notes import Notes
from bowerbird.data.codecs.pieces import Characters, Words
from bowerbird.data.codecs.pixels import Pixels

CODECS: Shelf[type[Codec]] = Shelf(
    "codec", characters=Characters, bytes=Bytes, bpe=BytePairs, words=Words, notes=Notes, pixels=Pixels
)

__all__ = ["CODECS", "Codec", "CodecConfig", "Decoder", "learn_codec", "load_codec", "same_codec", "suits"]

_UNITS = {"text": "byte", "melody": "note", "image": "image"}


def learn_codec(config: CodecConfig, texts: Texts) -> Codec:
    """Learn the configured codec from training text."""
    if config.name == "auto":
        config = choose_codec(config, texts)
    return CODECS[config.name].learn(texts, config)


def load_codec(description: Mapping[str, Any], files: Mapping[str, bytes]) -> Codec:
    """The codec that `describe` and `files` were taken from.

    Raises:
        CorruptFile: they make no codec.
    """
    name = description.get("name") if isinstance(description, Mapping) else None
    if not isinstance(name, str) or name not in CODECS:
        raise CorruptFile(f"the codec cannot be read: there is none called {name!r}")
    return CODECS[name].load(description, files)


def same_codec(one: Codec, other: Codec) -> bool:
    """Whether two codecs give every text the same tokens."""
    return one.describe() == other.describe() and one.files() == other.files()


def suits(codec: Codec, kind: str) -> bool:
    """Whether data of this kind can be in this codec. Of kinds that are not known here nothing is said."""
    return _UNITS.get(kind, codec.unit) == codec.unit
