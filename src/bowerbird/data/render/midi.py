"""A tune as a standard MIDI file of format 1: a track of tempo, key and metres, then one a voice.

The specification is MIDI 1.0's "Standard MIDI Files 1.0"; hex numbers below are its.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from bowerbird.data.render.spelling import sharps
from bowerbird.data.render.tempo import check_tempo
from bowerbird.data.tune import TICKS, Metre, Tune

_LOUDNESS = 90
_WITH_MINOR_THIRD = ("minor", "dorian", "phrygian", "locrian")
_OFF, _ON = 0, 1


def to_midi(tune: Tune, tempo: float = 120) -> bytes:
    """The file; every track ends at the last bar line. Tempo is in quarter notes a minute.

    Raises:
        UsageError: the tempo is beyond what can be played.
    """
    check_tempo(tempo)
    tracks = [_track(_conductor(tune, tempo), tune.ticks)]
    tracks += [_track(_voice(tune, voice), tune.ticks) for voice in range(1, tune.voices + 1)]
    return b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), TICKS) + b"".join(tracks)


def _conductor(tune: Tune, tempo: float) -> Iterable[tuple[int, int, bytes]]:
    yield 0, 0, _meta(0x51, round(60e6 / tempo).to_bytes(3, "big"))
    yield 0, 0, _meta(0x59, struct.pack(">bB", sharps(tune.key), tune.key.mode in _WITH_MINOR_THIRD))
    before: Metre | None = None
    for line, metre in zip(tune.bar_lines(), tune.metres, strict=False):
        if metre != before:
            # The third number is MIDI clocks, 24 a quarter note, from one beat of a metronome to the next.
            compound = metre.unit >= 8 and metre.beats % 3 == 0
            clocks = 24 * 4 * (3 if compound else 1) // metre.unit
            yield line, 0, _meta(0x58, bytes([metre.beats, metre.unit.bit_length() - 1, clocks, 8]))
        before = metre


def _voice(tune: Tune, voice: int) -> Iterable[tuple[int, int, bytes]]:
    channel = voice - 1
    yield 0, 0, _meta(0x03, f"voice {voice}".encode())
    for note in tune.notes:
        if note.voice == voice:
            yield note.start, _ON, bytes([0x90 | channel, note.pitch, _LOUDNESS])
            yield note.end, _OFF, bytes([0x80 | channel, note.pitch, 0])


def _track(events: Iterable[tuple[int, int, bytes]], end: int) -> bytes:
    """Of (tick, order within the tick, message): a note ends before the next begins."""
    body, now = bytearray(), 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        body += _varying(tick - now) + message
        now = tick
    body += _varying(end - now) + _meta(0x2F, b"")
    return b"MTrk" + struct.pack(">I", len(body)) + bytes(body)


def _meta(kind: int, data: bytes) -> bytes:
    return bytes([0xFF, kind]) + _varying(len(data)) + data


def _varying(number: int) -> bytes:
    """Seven bits a byte, the highest first; all but the last have the eighth bit set."""
    parts = [number & 0x7F]
    while number := number >> 7:
        parts.append(0x80 | number & 0x7F)
    return bytes(reversed(parts))
