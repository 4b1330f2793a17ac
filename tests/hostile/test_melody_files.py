"""Files that are no music, or music nobody could play: each is refused with a reason that says which."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import pytest

from bowerbird.data.item import Item, Rejected
from bowerbird.data.sources import abc, midi
from bowerbird.data.sources.gather import gather
from bowerbird.data.sources.source import GatherConfig

ON, OFF = 0x90, 0x80
SCALE = (60, 62, 64, 65, 67, 69, 71, 72)


def varlen(number: int) -> bytes:
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))


def track(*events: tuple[int, bytes]) -> bytes:
    body = b"".join(varlen(delta) + event for delta, event in events) + b"\0\xff\x2f\0"
    return b"MTrk" + len(body).to_bytes(4, "big") + body


def midi_file(*tracks: bytes, division: int = 480) -> bytes:
    head = b"MThd\0\0\0\6\0\1" + len(tracks).to_bytes(2, "big") + division.to_bytes(2, "big")
    return head + b"".join(tracks)


def played(pitches: tuple[int, ...], ticks: int = 480, channel: int = 0) -> list[tuple[int, bytes]]:
    return [
        event
        for pitch in pitches
        for event in ((0, bytes([ON | channel, pitch, 80])), (ticks, bytes([OFF | channel, pitch, 0])))
    ]


def tempo(micros: int) -> tuple[int, bytes]:
    return 0, b"\xff\x51\3" + micros.to_bytes(3, "big")


def refusal(path: Path) -> Rejected:
    (found,) = gather([str(path)], GatherConfig(), kind="melody")
    assert isinstance(found, Rejected), found
    return found


GOOD = midi_file(track(tempo(500_000), *played(SCALE)))
HOSTILE = {
    "no notes": (midi_file(track(tempo(500_000))), "no notes"),
    "no tracks": (midi_file(), "no notes"),
    "drums": (midi_file(track(*played(SCALE, channel=9))), "percussion only"),
    "text": (b"These are words and no music, whatever the name says.", "not a MIDI file"),
    "five hours": (midi_file(track(*played(SCALE, 480 * 60 * 2 * 60 * 5 // 8))), "300 minutes"),
    "tempo 0": (midi_file(track(tempo(0), *played(SCALE))), "absurd tempo"),
    "tempo 3": (midi_file(track(tempo(0xFFFFFF), *played(SCALE))), "absurd tempo"),
    "tempo 60000": (midi_file(track(tempo(1000), *played(SCALE))), "absurd tempo"),
    "truncated": (GOOD[:-20], "truncated"),
    "truncated in its head": (GOOD[:10], "truncated"),
    "a track is missing": (GOOD[:11] + b"\2" + GOOD[12:], "truncated"),
    "film time": (midi_file(track(*played(SCALE)), division=0xE728), "film frames"),
    "no division": (midi_file(track(*played(SCALE)), division=0), "no ticks"),
    "three notes": (midi_file(track(*played(SCALE[:3]))), "fewer than 4 notes"),
    "metre 4/64": (midi_file(track((0, b"\xff\x58\4\4\6\x18\x08"), *played(SCALE))), "no metre 4/64"),
    "metre 0/4": (midi_file(track((0, b"\xff\x58\4\0\2\x18\x08"), *played(SCALE))), "no metre 0/4"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_midi_file_is_refused_and_the_next_is_read(name: str, tmp_path: Path):
    content, reason = HOSTILE[name]
    (tmp_path / "a.mid").write_bytes(content)
    (tmp_path / "b.mid").write_bytes(GOOD)
    bad, good = gather([str(tmp_path)], GatherConfig(), kind="melody")
    assert isinstance(bad, Rejected)
    assert reason in bad.reason
    assert isinstance(good, Item)


def test_a_wait_before_the_first_tick_is_no_negative_time(tmp_path: Path):
    """Times are counted in bytes without a sign: the largest is a wait, here of three days."""
    events = played(SCALE)
    (tmp_path / "a.mid").write_bytes(midi_file(track((0x0FFFFFFF, events[0][1]), *events[1:])))
    assert "minutes" in refusal(tmp_path / "a.mid").reason


def test_notes_at_negative_times_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    symusic = pytest.importorskip("symusic")
    score = symusic.Score.from_midi(GOOD).shift_time(-600)
    assert min(note.time for note in score.tracks[0].notes) < 0

    class Shifted:
        @staticmethod
        def from_midi(_content: bytes) -> object:
            return score

    monkeypatch.setattr(symusic, "Score", Shifted)
    (tmp_path / "a.mid").write_bytes(GOOD)
    assert "negative time" in refusal(tmp_path / "a.mid").reason


def test_a_huge_file_is_refused_before_it_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(midi, "MOST_BYTES", 1 << 20)
    (tmp_path / "a.mid").write_bytes(GOOD + b"\0" * (1 << 20))
    assert "larger than 1 MiB" in refusal(tmp_path / "a.mid").reason


@pytest.mark.parametrize("seed", range(150))
def test_a_midi_file_with_wrong_bytes_is_read_or_refused(seed: int, tmp_path: Path):
    chance = random.Random(seed)
    content = bytearray(GOOD)
    for _ in range(chance.randint(1, 6)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    (tmp_path / "a.mid").write_bytes(content)
    assert len(list(gather([str(tmp_path)], GatherConfig(), kind="melody"))) == 1


@pytest.mark.parametrize("name", ["a.mid", "a.abc", "a.musicxml", "a.xml", "a.mxl", "a.krn"])
@pytest.mark.parametrize("seed", range(3))
def test_random_bytes_are_refused(name: str, seed: int, tmp_path: Path):
    (tmp_path / name).write_bytes(random.Random(seed).randbytes(3000))
    assert refusal(tmp_path / name).reason


@pytest.mark.parametrize(
    ("tune", "reason"),
    [
        ("X:1\nT:No key\nM:4/4\nCDEF GABc|\n", "no key (K:)"),
        ("X:1\nM:a lot\nK:C\nCDEF GABc|\n", "no metre is called `a lot`"),
        ("X:1\nM:4/4\nL:short\nK:C\nCDEF GABc|\n", "no length of notes is called `short`"),
        ("X:1\nM:4/4\nK:Q\nCDEF GABc|\n", "no key is called `Q`"),
        ("X:1\nM:4/4\nK:C\n", ""),
        ("X:1\nM:4/0\nL:1/8\nK:C\nCDEF GABc|\n", ""),
        ("X:1\nL:1/0\nK:C\nCDEF GABc|\n", ""),
    ],
)
def test_a_broken_tune_is_refused_and_the_next_is_read(tune: str, reason: str, tmp_path: Path):
    (tmp_path / "a.abc").write_text(f"{tune}\nX:2\nM:4/4\nL:1/8\nK:C\nCDEF GABc|\n")
    bad, good = gather([str(tmp_path)], GatherConfig(), kind="melody")
    assert isinstance(bad, Rejected)
    assert reason in bad.reason
    assert bad.origin.startswith(f"{tmp_path / 'a.abc'}#X:1")
    assert isinstance(good, Item)


def test_a_book_without_tunes_is_refused(tmp_path: Path):
    (tmp_path / "a.abc").write_text("Words about tunes, but none of them.\n")
    assert "none begins with X:" in refusal(tmp_path / "a.abc").reason


def test_a_tune_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(abc, "MOST_CHARACTERS", 500)
    (tmp_path / "a.abc").write_text("X:1\nK:C\n" + "CDEF GABc|\n" * 100)
    assert "longer than 500" in refusal(tmp_path / "a.abc").reason


@pytest.mark.parametrize(
    "content", ["<html><body>words</body></html>", "<score-partwise>", "<score-partwise/>"]
)
def test_xml_that_is_no_score_is_refused(content: str, tmp_path: Path):
    (tmp_path / "a.xml").write_text(content)
    assert refusal(tmp_path / "a.xml").reason


def test_a_packed_score_that_is_a_bomb_is_refused(tmp_path: Path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("score.xml", b" " * (40 << 20))
    (tmp_path / "a.mxl").write_bytes(file.getvalue())
    assert "unpacks to more than 32 MiB" in refusal(tmp_path / "a.mxl").reason


def test_entities_that_multiply_are_refused(tmp_path: Path):
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha" * 10}">' for n in range(12))
    (tmp_path / "a.xml").write_text(
        f"<!DOCTYPE score-partwise [{entities}]><score-partwise><work><work-title>&e11;</work-title></work>"
        "</score-partwise>"
    )
    assert refusal(tmp_path / "a.xml").reason
