"""From tokens of `Notes` back to the text of a tune."""

from __future__ import annotations

from bowerbird.data.codecs.codec import Decoder
from bowerbird.data.codecs.notes import AT, BAR, LENGTH, MARKER, METRE, MODE, PITCH, TONIC, VOICE, Notes
from bowerbird.data.markers import MARKERS
from bowerbird.data.tune import MODES


class NotesDecoder(Decoder):
    """Writes a word as soon as its last token is in, and leaves out tokens that cannot stand where they do."""

    def __init__(self, codec: Notes):
        self._codec = codec
        self._begin()

    def _begin(self) -> None:
        self._begun = self._keyed = False
        self._named: int | None = None
        """A tonic that awaits its mode."""
        self._tonic = self._line = self._bars = 0
        self._metre: int | None = None
        self._ends = dict.fromkeys(self._codec.voices, 0)
        self._open_bar()

    def _open_bar(self) -> None:
        self._at, self._voice, self._heard = -1, 0, 0
        self._pitch: int | None = None
        self._changed = False

    def push(self, token: int) -> str:
        kind, value = self._codec.kinds[token], self._codec.values[token]
        if kind == MARKER:
            self._begin()
            return MARKERS[value]
        word = self._word(kind, value)
        if not word:
            return ""
        space = " " if self._begun else ""
        self._begun = True
        return space + word

    def flush(self) -> str:
        self._begin()
        return ""

    def _word(self, kind: int, value: int) -> str:
        """What is now complete."""
        if kind == LENGTH:
            return self._note(value)
        if kind <= METRE:
            return self._head(kind, value)
        if kind == BAR:
            if self._keyed and self._metre is None:
                return ""
            if self._bars:
                self._line += self._width()
            self._bars += 1
            self._open_bar()
            return "|"
        if kind == AT:
            if value > self._at and value < self._width() and (self._bars or not self._headed()):
                self._at, self._voice, self._pitch, self._heard = value, 0, None, 0
                self._bars = self._bars or 1  # of a part that begins within a bar
        elif kind == VOICE:
            if self._at >= 0 and self._pitch is None and value > self._heard and self._free(value):
                self._voice = value
        elif kind == PITCH and self._pitch is None and self._at >= 0:
            if not self._codec.manifold and not self._heard and self._free(self._codec.voices[0]):
                self._voice = self._codec.voices[0]
            if self._voice:
                self._pitch = value
        return ""

    def _head(self, kind: int, value: int) -> str:
        if kind == TONIC:
            if not self._begun and not self._bars:
                self._named = value
        elif kind == MODE:
            if self._named is not None and not self._begun and not self._bars:
                self._tonic, self._keyed = self._named, True
                return f"K{self._tonic}:{MODES[value]}"
        elif value != self._metre and self._at < 0 and not self._changed:
            self._changed, self._metre = True, value
            metre = self._codec.metres[value]
            return f"M{metre.beats}/{metre.unit}"
        return ""

    def _headed(self) -> bool:
        return self._keyed or self._metre is not None

    def _width(self) -> int:
        codec = self._codec
        return codec.positions if self._metre is None else codec.bar_steps[self._metre]

    def _free(self, voice: int) -> bool:
        return self._ends[voice] <= self._line + self._at

    def _note(self, length: int) -> str:
        if self._pitch is None:
            return ""
        codec, voice = self._codec, self._voice
        self._ends[voice] = self._line + self._at + length
        pitch = codec.pitch(self._pitch, self._tonic)
        self._heard, self._voice, self._pitch = voice, 0, None
        named = f":{voice}" if voice != 1 else ""
        return f"{self._at * codec.step}:{pitch}:{length * codec.step}{named}"
