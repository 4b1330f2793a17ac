"""Scores of melodies whose answers are known by hand."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from bowerbird.base.errors import UsageError
from bowerbird.data.tune import Key, Metre, Note, Tune, parse
from bowerbird.evaluation.baselines import melody_baselines
from bowerbird.evaluation.evaluate import compare, evaluate
from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.melodies import bars, documents, spans
from bowerbird.evaluation.metrics.melody_distributions import divergence
from bowerbird.evaluation.metrics.melody_repetition import repeated_bars
from bowerbird.evaluation.note_ngram import MOST_CONTEXT, UNSEEN_BITS, Event, NoteNGram, events
from bowerbird.evaluation.page import html
from bowerbird.evaluation.report import Report, Score, per_unit
from bowerbird.evaluation.shares import wilson


def evidence(
    *,
    bits: list[float] | None = None,
    sizes: list[int] | None = None,
    held_out: Sequence[str] = (),
    samples: Sequence[str] = (),
    training: Sequence[str] = (),
) -> Evidence:
    def pieces() -> Iterator[str]:
        return iter(["".join("\ufdd0" + text for text in training)] if training else [])

    return Evidence(
        "melody", 0, "test", np.array(bits or []), np.array(sizes or []), held_out, samples, pieces
    )


def scores(given: Evidence, metric: str) -> dict[str, Score]:
    return {score.name: score for score in evaluate(given, metrics=[metric], baselines=False)[0]}


def line(
    pitches: Sequence[int], lengths: Sequence[int] | None = None, tonic: int = 0, voice: int = 1
) -> Tune:
    """Notes one after the other in bars of four quarters, cut by no bar line."""
    lengths = lengths or [24] * len(pitches)
    notes, at = [], 0
    for pitch, length in zip(pitches, lengths, strict=True):
        notes.append(Note(at, length, pitch, voice))
        at += length
    return Tune(Key(tonic, "major"), (Metre(4, 4),) * max(1, -(-at // 96)), tuple(notes))


def walk(seed: int, notes: int) -> Tune:
    rng = random.Random(seed)
    return line(
        [rng.randrange(50, 80) for _ in range(notes)], [rng.choice([12, 24, 36, 48]) for _ in range(notes)]
    )


def joined(*parts: Tune) -> Tune:
    notes = [note for part in parts for note in part.notes]
    return line([note.pitch for note in notes], [note.length for note in notes])


def cut(tune: Tune, first: int, last: int) -> Tune:
    notes = tune.notes[first:last]
    return line([note.pitch for note in notes], [note.length for note in notes])


def test_bits_per_note_is_all_bits_over_all_notes() -> None:
    score = scores(evidence(bits=[10, 30, 2], sizes=[5, 10, 1]), "bits_per_note")["bits_per_note"]
    assert score.value == pytest.approx(42 / 16)
    assert (score.n, score.unit, score.better) == (16, "bits/note", "lower")
    assert score.interval is not None
    assert score.interval[0] <= 42 / 16 <= score.interval[1]


def test_a_metric_of_text_is_not_for_melody() -> None:
    with pytest.raises(UsageError, match="not for melody") as caught:
        evaluate(evidence(), metrics=["novelty"])
    assert "melody_novelty" in str(caught.value.hint)


def test_valid_tunes_are_those_that_parse_and_have_a_note() -> None:
    samples = [
        "K0:major M4/4 | 0:60:24",
        "K0:major M4/4 | 0:60:24 | 0:62:96",
        "K0:major M4/4 |",
        "K0:major M4/4 | 0:60:97",
        "K0:major M4/4 | 0:60:24 12:62:24",
        "M4/4 | 0:60:24",
        "K0:major M4/4 | 0:60:24 9",
        "",
    ]
    score = scores(evidence(samples=samples), "valid_share")["valid_share"]
    assert (score.value, score.n) == (2 / 8, 8)
    assert score.interval == pytest.approx((0.0715, 0.5907), abs=1e-4)


def test_wilsons_interval_is_as_in_tables() -> None:
    assert wilson(0, 0) is None
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)


def test_a_divergence_is_nought_for_equal_shares_and_one_for_disjoint() -> None:
    assert divergence(np.array([1.0, 3.0]), np.array([10.0, 30.0])) == pytest.approx(0)
    assert divergence(np.array([5.0, 0.0]), np.array([0.0, 2.0])) == pytest.approx(1)
    # Two evenly against the first alone: the middle is 3/4 and 1/4.
    by_hand = (0.5 * math.log2(0.5 / 0.75) + 0.5 * math.log2(0.5 / 0.25) + math.log2(1 / 0.75)) / 2
    assert divergence(np.array([1.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx(by_hand)


def test_distances_of_each_feature_by_hand() -> None:
    # Generated in D: tonic, fifth, twice. Held out in C: the tonic and the fifth below it, in eighths.
    made = line([62, 69, 62, 69], tonic=2)
    kept = line([60, 55, 60, 55], [12] * 4)
    found = scores(evidence(samples=[made.text()] * 2, held_out=[kept.text()]), "melody_distributions")
    assert found["pitch_class_distance"].value == pytest.approx(0)
    assert found["interval_distance"].value == pytest.approx(1)
    assert found["duration_distance"].value == pytest.approx(1)
    # Places 0, 1/4, 1/2, 3/4 against 0, 1/8, 1/4, 3/8: half in common.
    assert found["bar_position_distance"].value == pytest.approx(0.5)
    assert (found["interval_distance"].n, found["duration_distance"].n) == (6, 8)
    assert found["duration_distance"].unit == "bits"
    assert found["duration_distance"].reference is None


def test_steps_are_within_a_voice_and_at_most_an_octave() -> None:
    two = parse("K0:major M4/4 | 0:72:24 0:40:24:2 24:90:24 24:41:24:2")
    one = parse("K0:major M4/4 | 0:60:24 24:72:24 48:73:24")
    found = scores(evidence(samples=[two.text()], held_out=[one.text()]), "melody_distributions")
    assert found["interval_distance"].n == 2
    assert found["interval_distance"].value == pytest.approx(0)  # 12 and 1 on both sides


def test_the_reference_of_a_distance_is_of_as_many_training_tunes() -> None:
    kept = [walk(seed, 40).text() for seed in range(20)]
    training = [walk(seed + 100, 40).text() for seed in range(60)]
    odd = [line([60] * 40).text()] * 10
    score = scores(evidence(samples=odd, held_out=kept, training=training), "melody_distributions")
    distance = score["pitch_class_distance"]
    assert distance.value is not None
    assert distance.reference is not None
    assert distance.interval is not None
    assert distance.reference < 0.05 < distance.interval[0] < distance.value < distance.interval[1]
    assert "10 training tunes" in distance.note


def test_bars_repeat_when_every_note_is_the_same() -> None:
    text = "K0:major M4/4 | 0:60:24 48:62:24 | 0:60:24 48:62:24 | 0:60:24 48:62:12 | | | 0:60:24 48:62:24"
    assert repeated_bars(parse(text)) == (2, 4)
    in_three = "K0:major M4/4 | 0:60:24 | M3/4 0:60:24 | 0:60:24"
    assert repeated_bars(parse(in_three)) == (1, 3)
    found = scores(evidence(samples=[text, "nonsense"], held_out=[in_three]), "melody_repetition")[
        "repetition"
    ]
    assert (found.value, found.n) == (0.5, 4)
    assert found.reference == pytest.approx(1 / 3)
    assert "1 of 2 generated texts are no tunes" in found.note


def test_a_run_of_sixteen_notes_in_another_key_is_a_copy() -> None:
    source = walk(1, 60)
    made = joined(walk(2, 10), cut(source, 20, 36).transposed(5), walk(3, 14))
    clean = walk(4, 40)
    found = scores(
        evidence(
            samples=["no tune", made.text(), clean.text()],
            held_out=[walk(5, 80).text()],
            training=[walk(6, 50).text(), source.text()],
        ),
        "melody_novelty",
    )
    novelty, longest, copied = found["novelty"], found["longest_copy"], found["copied_tunes"]
    assert (novelty.n, novelty.reference) == (80, 1)
    assert novelty.value == pytest.approx(1 - 16 / 80)
    assert (longest.value, longest.unit) == (16, "notes")
    assert longest.reference is not None
    assert longest.reference < 6
    assert (copied.value, copied.n, copied.reference) == (0.5, 2, 0)
    (passage,) = longest.passages
    begin, end = spans(made.text())[10][0], spans(made.text())[25][1]
    assert (passage.sample, passage.start) == (1, begin)
    assert passage.text == made.text()[begin:end]
    first, last = spans(source.text())[20][0], spans(source.text())[35][1]
    assert passage.theirs == source.text()[first:last]
    assert source.text().find(passage.before + passage.theirs + passage.after) >= 0


def test_fifteen_notes_are_no_copy_but_the_longest_is_known() -> None:
    source = walk(1, 60)
    made = joined(walk(2, 5), cut(source, 20, 35), walk(3, 5))
    found = scores(evidence(samples=[made.text()], training=[source.text()]), "melody_novelty")
    assert found["novelty"].value == 1
    assert found["copied_tunes"].value == 0
    assert found["longest_copy"].value == 15
    assert len(spans(found["longest_copy"].passages[0].text)) == 15


def test_a_run_counts_only_within_one_training_tune_and_one_voice() -> None:
    source = walk(1, 30)
    halves = [cut(source, 0, 15).text(), cut(source, 15, 30).text()]
    found = scores(evidence(samples=[source.text()], training=halves), "melody_novelty")
    assert (found["novelty"].value, found["longest_copy"].value) == (1, 15)
    low = tuple(note._replace(voice=2, pitch=note.pitch - 12) for note in source.notes)
    both = Tune(
        source.key, source.metres, tuple(sorted((*source.notes, *low), key=lambda n: (n.start, n.voice)))
    )
    found = scores(evidence(samples=[source.text()], training=[both.text()]), "melody_novelty")
    assert (found["novelty"].value, found["longest_copy"].value) == (0, 30)


def test_other_lengths_are_another_melody() -> None:
    source = walk(1, 40)
    slower = line([note.pitch for note in source.notes], [2 * note.length for note in source.notes])
    found = scores(evidence(samples=[slower.text()], training=[source.text()]), "melody_novelty")
    assert found["novelty"].value == 1


def test_the_longest_copy_is_that_of_a_slow_search() -> None:
    rng = random.Random(0)

    def small(seed: int) -> Tune:
        own = random.Random(seed)
        return line([own.choice([60, 62]) for _ in range(60)], [own.choice([12, 24]) for _ in range(60)])

    made, training = [small(seed) for seed in range(6)], [small(seed) for seed in range(50, 60)]
    start = rng.randrange(20)
    made[2] = joined(cut(made[2], 0, 10), cut(training[3], start, start + 22), cut(made[2], 10, 20))

    def steps(tune: Tune, at: int, size: int) -> tuple[tuple[int, int], ...]:
        return tuple((note.pitch - tune.notes[at].pitch, note.length) for note in tune.notes[at : at + size])

    size = 60
    while True:
        known = {steps(one, at, size) for one in training for at in range(61 - size)}
        if any(steps(one, at, size) in known for one in made for at in range(len(one.notes) - size + 1)):
            break
        size -= 1
    found = scores(
        evidence(samples=[one.text() for one in made], training=[one.text() for one in training]),
        "melody_novelty",
    )
    assert found["longest_copy"].value == size >= 22


def test_a_thousand_tunes_against_a_thousand_take_seconds() -> None:
    texts = [walk(seed, 80).text() for seed in range(2000)]
    begun = time.process_time()
    found = scores(evidence(samples=texts[:1000], training=texts[999:]), "melody_novelty")
    assert time.process_time() - begun < 20
    assert found["copied_tunes"].value == 1 / 1000


def test_tunes_of_one_note_repeated_are_searched_as_fast() -> None:
    texts = [line([60] * 80).text()] * 300
    begun = time.process_time()
    found = scores(evidence(samples=texts, training=texts, held_out=texts), "melody_novelty")
    assert time.process_time() - begun < 10
    assert (found["novelty"].value, found["longest_copy"].value, found["copied_tunes"].value) == (0, 80, 1)


def test_documents_run_on_from_piece_to_piece() -> None:
    assert list(documents(["\ufdd0one", "", " two\ufdd0", "three\ufdd0\ufdd0fo", "ur"])) == [
        "one two",
        "three",
        "four",
    ]


def by_counting(learnt: list[list[Event]], context: Sequence[object], event: Event) -> float:
    """Interpolated modified Kneser-Ney straight from its definition: Chen & Goodman 1999, section 3."""
    padded = [[*["<"] * MOST_CONTEXT, *tune] for tune in learnt]
    grams = Counter(
        tuple(tune[at - MOST_CONTEXT : at + 1]) for tune in padded for at in range(MOST_CONTEXT, len(tune))
    )
    vocabulary = {event for tune in learnt for event in tune}
    by_order = {MOST_CONTEXT + 1: grams}
    for size in range(MOST_CONTEXT, 0, -1):
        by_order[size] = Counter(gram[1:] for gram in by_order[size + 1])
    told = (*["<"] * MOST_CONTEXT, *context)
    share = 1 / (len(vocabulary) + 1)
    for size in range(1, MOST_CONTEXT + 2):
        before = told[len(told) - size + 1 :]
        after = {gram[-1]: times for gram, times in by_order[size].items() if gram[:-1] == before}
        if not after:
            continue
        n = Counter(by_order[size].values())
        discount = {1: 0.5, 2: 0.75, 3: 1.0}
        if all(n[times] for times in range(1, 5)):
            rate = n[1] / (n[1] + 2 * n[2])
            estimates = {times: times - (times + 1) * rate * n[times + 1] / n[times] for times in (1, 2, 3)}
            discount = {times: min(max(found, 0.1), times - 0.1) for times, found in estimates.items()}
        total = sum(after.values())
        left = sum(discount[min(times, 3)] for times in after.values()) / total
        own = (after[event] - discount[min(after[event], 3)]) / total if event in after else 0.0
        share = own + left * share
    return share


def test_note_ngrams_give_what_counting_by_hand_gives() -> None:
    learnt = [line([60, 62, 64, 60]), line([60, 62, 60, 62, 64], tonic=2), walk(1, 6)]
    told = [list(events(tune)) for tune in learnt]
    judged = list(events(line([60, 62, 64, 99])))
    bits = 0.0
    for at, event in enumerate(judged):
        bits -= math.log2(by_counting(told, judged[:at], event))
    assert ("pitch", 99) in judged
    assert NoteNGram(learnt).bits(line([60, 62, 64, 99])) == pytest.approx(bits + UNSEEN_BITS)


def test_note_ngrams_are_probabilities_after_whatever_was_told() -> None:
    learnt = [walk(seed, 40) for seed in range(30)]
    model = NoteNGram(learnt)
    told = list(events(walk(99, 20)))
    for at in range(len(told)):
        after = model.after(told[:at])
        assert after.min() > 0
        assert after.sum() == pytest.approx(1)
    assert NoteNGram([]).after([]) == pytest.approx([1])


def test_the_baseline_counts_the_whole_tune_over_its_notes() -> None:
    training = [walk(seed, 40) for seed in range(30)]
    kept = [walk(seed + 100, 30) for seed in range(5)]
    given = evidence(
        bits=[90] * 5,
        sizes=[30] * 5,
        held_out=[tune.text() for tune in kept],
        training=[tune.text() for tune in training],
    )
    (score,) = melody_baselines(given)
    model = NoteNGram(training)
    assert score.value == pytest.approx(sum(model.bits(tune) for tune in kept) / 150)
    assert (score.name, score.unit, score.n) == ("ngram_bits_per_note", "bits/note", 150)
    assert "all 30 tunes" in score.note
    # Thirty pitches and four lengths drawn evenly cost log2(120) at the least.
    assert score.value is not None
    assert score.value > math.log2(120)
    assert evaluate(given)[1] == [score]


def test_a_recited_tune_costs_the_baseline_little() -> None:
    training = [walk(seed, 40).text() for seed in range(30)]
    (known,) = melody_baselines(evidence(sizes=[40], held_out=training[:1], training=training))
    (new,) = melody_baselines(evidence(sizes=[40], held_out=[walk(99, 40).text()], training=training))
    assert known.value is not None
    assert new.value is not None
    assert known.value < new.value - 2


def test_bars_hold_the_notes_that_begin_in_them() -> None:
    tune = parse("K0:major M4/4 | 0:60:24 | M3/4 24:61:24 | | 0:62:72")
    assert [[note.start for note in notes] for notes in bars(tune)] == [[0], [24], [], [0]]


def test_models_of_melody_are_compared_in_bits_per_note() -> None:
    score = [Score("bits_per_note", 1.0, "bits/note", "lower", 1)]
    rng = np.random.default_rng(0)
    sizes = rng.integers(20, 60, 50)
    bits = sizes * rng.normal(3, 0.3, 50)
    (row,) = compare(score, score, bits, bits + sizes * 0.1, sizes)
    assert (row["name"], row["unit"]) == ("bits_per_note", "bits/note")
    assert row["value"] == pytest.approx(-0.1)
    assert row["verdict"] == "A is better: 0.100 bits per note fewer, beyond chance"


def test_the_page_speaks_of_tunes_and_notes() -> None:
    training = [walk(seed, 40).text() for seed in range(20)]
    samples = [parse(training[3]).transposed(2).text(), walk(70, 30).text()]
    kept = [walk(seed + 100, 30).text() for seed in range(6)]
    given = evidence(
        bits=[100, 120, 90, 80, 130, 95], sizes=[30] * 6, held_out=kept, samples=samples, training=training
    )
    made, beside, passages = evaluate(given)
    units = per_unit(given.bits, given.sizes)
    page = html(Report("m", "sha256:ab", "melody", "test", made, beside, samples, passages, unit_bits=units))
    assert "bits</b> on a note" in page
    assert "test tunes themselves" in page
    assert "Nearest to the training tunes" in page
    assert "Bits per note of each of 6 held-out units" in page
    assert "byte" not in page
    theirs = passages[0].theirs
    assert theirs is not None
    assert f"<mark>{theirs}</mark>" in page
