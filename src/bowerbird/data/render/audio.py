"""A tune as sound: by FluidSynth where it and a sound font are installed, else by a few decaying harmonics."""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from bowerbird.base.errors import UsageError
from bowerbird.data.render.midi import to_midi
from bowerbird.data.render.tempo import check_tempo
from bowerbird.data.tune import TICKS, Tune

FONTS = Path("/usr/share/sounds/sf2")
TAIL_SECONDS = 0.5
"""Sounded after the last bar line, so that the last note may fade."""
_MOST_SECONDS = 1200
_RATES = (8000, 48000)
_FLUIDSYNTH_SECONDS = 60
_HARMONICS = ((1, 1.0, 2.2), (2, 0.45, 3.2), (3, 0.22, 4.4), (4, 0.12, 6.0), (5, 0.06, 8.0))
"""Multiple of the pitch, loudness at the attack, and decay a second."""
_ATTACK_SECONDS = 0.008
_RELEASE_SECONDS = 0.08
_PEAK = 0.8

Samples = npt.NDArray[np.float32]


def to_wav(tune: Tune, tempo: float = 120, sample_rate: int = 22050) -> bytes:
    """A mono WAV of 16 bits. Tempo is in quarter notes a minute.

    Raises:
        UsageError: the tempo or the rate is beyond what can be played, or the sound would be too long.
    """
    check_tempo(tempo)
    if not _RATES[0] <= sample_rate <= _RATES[1]:
        raise UsageError(
            f"there is no sound of {sample_rate} samples a second",
            hint=f"choose from {_RATES[0]} to {_RATES[1]}",
        )
    seconds = tune.ticks / TICKS * 60 / tempo
    if seconds > _MOST_SECONDS:
        raise UsageError(
            f"the tune would sound for {seconds / 60:.0f} minutes",
            hint=f"at most {_MOST_SECONDS // 60} are made into sound: choose a faster tempo or another format",
        )
    samples = _fluidsynth(tune, tempo, sample_rate)
    if samples is None:
        samples = _plain(tune, tempo, sample_rate)
    samples = _fitted(samples, round((seconds + TAIL_SECONDS) * sample_rate))
    return _wav(samples, sample_rate)


def _plain(tune: Tune, tempo: float, sample_rate: int) -> Samples:
    per_tick = 60 / tempo / TICKS * sample_rate
    sound = np.zeros(int((tune.ticks * per_tick) + TAIL_SECONDS * sample_rate) + 1, np.float32)
    known: dict[tuple[int, int], Samples] = {}
    for note in tune.notes:
        if (note.pitch, note.length) not in known:
            known[note.pitch, note.length] = _tone(note.pitch, note.length * per_tick, sample_rate)
        tone = known[note.pitch, note.length]
        begin = round(note.start * per_tick)
        heard = sound[begin : begin + len(tone)]
        heard += tone[: len(heard)]
    return sound


def _tone(pitch: int, length: float, sample_rate: int) -> Samples:
    """A note of so many samples, and its release."""
    time = np.arange(round(length + _RELEASE_SECONDS * sample_rate), dtype=np.float32) / sample_rate
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    tone = np.zeros_like(time)
    for multiple, loudness, decay in _HARMONICS:
        if multiple * frequency < sample_rate / 2:
            tone += loudness * np.exp(-decay * time) * np.sin(2 * np.pi * multiple * frequency * time)
    attack = np.minimum(time / _ATTACK_SECONDS, 1)
    release = np.clip((time[-1] - time) / _RELEASE_SECONDS, 0, 1) if len(time) else time
    return (tone * attack * release).astype(np.float32)


def _fluidsynth(tune: Tune, tempo: float, sample_rate: int) -> Samples | None:
    """None where it is not installed or did not do it: the plain sound is better than an error."""
    program = shutil.which("fluidsynth")
    font = next(iter(sorted(FONTS.glob("*.sf2"))), None)
    if program is None or font is None:
        return None
    with TemporaryDirectory(prefix="bowerbird-") as folder:
        score, sound = Path(folder, "tune.mid"), Path(folder, "tune.wav")
        score.write_bytes(to_midi(tune, tempo))
        command = [program, "-n", "-i", "-q", "-T", "wav", "-O", "s16", "-r", str(sample_rate)]
        try:
            subprocess.run(
                [*command, "-F", str(sound), str(font), str(score)],
                check=True,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=_FLUIDSYNTH_SECONDS,
            )
            with wave.open(str(sound)) as file:
                if (file.getsampwidth(), file.getframerate()) != (2, sample_rate):
                    return None
                channels = file.getnchannels()
                values = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        except (OSError, subprocess.SubprocessError, wave.Error, EOFError):
            return None
    if not values.any():
        return None
    mono: Samples = values.reshape(-1, channels).mean(axis=1, dtype=np.float32)
    return mono


def _fitted(samples: Samples, length: int) -> Samples:
    """Cut or followed by silence to this length, faded at its end, and as loud as is safe."""
    fitted = np.zeros(length, np.float32)
    fitted[: len(samples)] = samples[:length]
    fade = min(length, 400)
    fitted[length - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    peak = float(np.abs(fitted).max())
    return fitted * np.float32(_PEAK / peak) if peak else fitted


def _wav(samples: Samples, sample_rate: int) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
    return stream.getvalue()
