"""The report as one HTML page: no scripts, nothing fetched, every text from outside escaped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from bowerbird.base.errors import MissingExtra
from bowerbird.evaluation.pictures import data_uri, sheet
from bowerbird.evaluation.plots import Bar, bars, histogram
from bowerbird.evaluation.report import (
    MAIN_SCORES,
    Pair,
    Passage,
    Report,
    Score,
    finite,
    in_words,
    main_score,
)

NAMES = {
    "bits_per_byte": "Bits per byte",
    "novelty": "Novelty",
    "longest_copy": "Longest copied stretch",
    "repetition": "Repetition",
    "ngram_bits_per_byte": "Byte 6-grams, Kneser-Ney",
    "xz_bits_per_byte": "xz compressor",
    "bits_per_note": "Bits per note",
    "valid_share": "Playable tunes",
    "copied_tunes": "Tunes with a copied run",
    "pitch_class_distance": "Distance in pitches",
    "interval_distance": "Distance in steps",
    "duration_distance": "Distance in lengths",
    "bar_position_distance": "Distance in places in the bar",
    "ngram_bits_per_note": "N-grams of note events, Kneser-Ney",
    "fid": "Frechet distance (FID)",
    "kid": "Kernel distance (KID)",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
    "class_distance": "Distance in classes",
    "classes_made": "Classes made",
    "class_accuracy": "Right class",
    "copied_share": "Copies of training pictures",
} | {f"distinct_{n}": f"Distinct {n}-grams" if n > 1 else "Distinct words" for n in range(1, 5)}
"""What a reader sees for the names of scores."""
_IN_TILES = (*MAIN_SCORES, "novelty", "longest_copy", "precision", "recall", "copied_share")
_SHARE_OF = {
    "novelty": "new",
    "copied_share": "of samples",
    "precision": "of samples",
    "recall": "of pictures",
}
"""What stands after a share in its tile."""
_CONTENT = {"melody": "tunes", "image": "pictures"}
"""What a split of a kind holds; of the others, text."""
_SHOWN_SAMPLES = 3
_SHOWN_PICTURES = 64


def html(report: Report) -> str:
    """The whole page. Without matplotlib it has its tables only, and says so."""
    sections = [
        _head(report),
        _tiles(report),
        _against(report),
        _beside(report),
        _scores(report),
        _spread(report),
        _copied(report),
        _nearest(report.scores),
        _samples(report.texts),
        _pictures(report),
        _computed(report),
        _foot(report),
    ]
    return document(f"{report.model}: report", sections)


def document(title: str, sections: Sequence[str]) -> str:
    """A whole page of these sections, in the one style; those that are empty are left out."""
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    body = "\n".join(section for section in sections if section)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{harmless(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _head(report: Report) -> str:
    facts = [("kind", report.kind), ("judged on", f"the {report.split} split")]
    facts += [(name, _plain(value)) for name, value in report.dataset.items()]
    if report.created:
        facts.append(("made", report.created))
    items = "".join(f"<li>{harmless(name)} <b>{harmless(value)}</b></li>" for name, value in facts)
    return (
        f"<h1>{harmless(report.model)}</h1>\n"
        f'<p class="quiet"><code>{harmless(report.digest)}</code></p>\n<ul class="facts quiet">{items}</ul>'
    )


def _tiles(report: Report) -> str:
    by_name = {score.name: score for score in report.scores}
    tiles = []
    for name in _IN_TILES:
        score = by_name.get(name)
        if score is None or finite(score.value) is None:
            continue
        below = _interval(score)
        below = f"95 % interval {below}" if below else ""
        if name not in MAIN_SCORES and finite(score.reference) is not None:
            below = f"{_held_out(report)}: {_number(score.reference, score.unit)}"
        unit = score.unit if score.unit != "share" else _SHARE_OF.get(name, "")
        tiles.append(
            f'<div class="tile"><div class="name">{harmless(_name(name))}</div><div class="value">'
            f"{_number(score.value, score.unit)} <small>{harmless(unit)}</small></div>"
            f'<div class="quiet">{below}</div></div>'
        )
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""


def _beside(report: Report) -> str:
    """The model beside the baselines: a sentence, and a bar for each."""
    own = main_score(report.scores)
    measured = [score for score in report.baselines if finite(score.value) is not None]
    if own is None or own.value is None or finite(own.value) is None or not measured:
        return ""
    rows: list[Bar] = [("this model", own.value, own.interval)]
    for row in report.comparison or ():
        if row["name"] == own.name and row["b"] is not None:
            rows.append(("the other model", row["b"], None))
    rows += [
        (_name(score.name), score.value, score.interval) for score in measured if score.value is not None
    ]
    best = min(measured, key=lambda score: score.value or 0)
    assert best.value is not None
    share = own.value / best.value - 1 if best.value else 0.0
    words = (
        f"The model spends <b>{abs(share):.1%} {'fewer' if share < 0 else 'more'} bits</b> on a {_size(own)}"
        f" than the best of the simpler methods here ({harmless(_name(best.name))}). Shorter bars are better."
    )
    return (
        "<h2>Beside simpler methods</h2>\n"
        + f"<p>{words}</p>"
        + figure(lambda: bars(rows, in_words(own.unit)), "")
    )


def _scores(report: Report) -> str:
    rows = []
    for score in [*report.scores, *report.baselines]:
        arrow = "lower" if score.better == "lower" else "higher"
        unit = "" if score.unit == "share" else f' <span class="quiet">{harmless(score.unit)}</span>'
        rows.append(
            f"<tr><td>{harmless(_name(score.name))}</td><td><b>{_number(score.value, score.unit)}</b>{unit}</td>"
            f"<td>{_interval(score) or '–'}</td><td>{_number(score.reference, score.unit)}</td>"
            f"<td>{score.n:,}</td><td>{arrow}</td></tr>"
        )
    head = (
        "<tr><th>score</th><th>value</th><th>95 % interval</th>"
        f"<th>{_held_out(report)}</th><th>n</th><th>better</th></tr>"
    )
    return f'<h2>Scores</h2>\n<div class="table"><table>{head}{"".join(rows)}</table></div>'


def _against(report: Report) -> str:
    if not report.comparison:
        return ""
    rows = []
    for row in report.comparison:
        ends = row.get("interval")
        interval = f"{ends[0]:+.4f} to {ends[1]:+.4f}" if ends else "–"
        difference = "–" if row["value"] is None else f"{row['value']:+.4f}"
        rows.append(
            f"<tr><td>{harmless(_name(row['name']))}</td><td>{_number(row['a'], row['unit'])}</td>"
            f"<td>{_number(row['b'], row['unit'])}</td><td><b>{difference}</b></td><td>{interval}</td>"
            f'<td class="words">{harmless(row["verdict"])}</td></tr>'
        )
    other = f"B is {harmless(report.against)}" if report.against else "B is the other model"
    head = (
        "<tr><th>score</th><th>A</th><th>B</th><th>A - B</th><th>95 % interval</th>"
        '<th class="words">verdict</th></tr>'
    )
    return (
        f'<h2>Against another model</h2>\n<p class="quiet">A is this model, {other}; both judged on the same'
        f' units.</p>\n<div class="table"><table>{head}{"".join(rows)}</table></div>'
    )


def _spread(report: Report) -> str:
    values, own = report.unit_bits, main_score(report.scores)
    together = finite(own.value) if own else None
    if values is None or own is None or together is None:
        return ""
    values = values[np.isfinite(values)]
    if len(values) < 5:
        return ""
    caption = f"{_name(own.name)} of each of {len(values):,} held-out units; the last bar holds all beyond."
    plot = figure(lambda: histogram(values, together, in_words(own.unit), "units"), caption)
    return f"<h2>How it differs over the {harmless(report.split)} {_content(report)}</h2>\n{plot}"


def figure(draw: Callable[[], str], caption: str) -> str:
    """A plot with a caption; a line that says why there is none where it cannot be drawn."""
    try:
        drawn = draw()
    except MissingExtra as error:
        return f'<p class="quiet">No plot: {harmless(error.what)} ({harmless(error.hint or "")}).</p>'
    below = f"<figcaption>{harmless(caption)}</figcaption>" if caption else ""
    return f"<figure>{drawn}{below}</figure>"


def _copied(report: Report) -> str:
    if not report.passages:
        return ""
    pairs = "\n".join(_pair(passage, report.texts) for passage in report.passages)
    if report.kind == "melody":
        head = "Nearest to the training tunes"
        words = (
            "The longest runs of notes that stand in both, in whatever key; other voices are shown between them."
            " Scales and common figures are found everywhere; whole phrases say that the model recites."
        )
    else:
        head = "Nearest to the training text"
        words = (
            "The longest stretches that stand word for word in both. Common phrases are found everywhere;"
            " whole sentences say that the model recites."
        )
    return f"<h2>{head}</h2>\n<p>{words}</p>\n{pairs}"


def _pair(passage: Passage, samples: Sequence[str]) -> str:
    sample = samples[passage.sample] if passage.sample < len(samples) else passage.text
    start = passage.start if sample[passage.start :].startswith(passage.text) else sample.find(passage.text)
    end = start + len(passage.text)
    own = _marked(sample[max(0, start - 120) : max(0, start)], passage.text, sample[end : end + 120])
    theirs = _marked(passage.before, passage.theirs or passage.text, passage.after)
    length = f"{len(passage.text):,} characters"
    return (
        f'<div class="pair"><div class="text"><span class="label">sample {passage.sample + 1}, {length}</span>'
        f'{own}</div><div class="text"><span class="label">training text</span>{theirs}</div></div>'
    )


def _marked(before: str, text: str, after: str) -> str:
    return f"{harmless(before)}<mark>{harmless(text)}</mark>{harmless(after)}"


def _samples(samples: Sequence[str]) -> str:
    if not samples:
        return ""
    blocks = [
        f'<div class="text sample" tabindex="0"><span class="label">sample {number}</span>{harmless(sample)}</div>'
        for number, sample in enumerate(samples, start=1)
    ]
    shown, folded = blocks[:_SHOWN_SAMPLES], blocks[_SHOWN_SAMPLES:]
    rest = f"<details><summary>{len(folded)} more</summary>{''.join(folded)}</details>" if folded else ""
    return f"<h2>Samples</h2>\n{''.join(shown)}{rest}"


def _nearest(scores: Sequence[Score]) -> str:
    """The samples nearest to training pictures, beside them, of the first score that knows any."""
    pairs = next((score.pairs for score in scores if score.pairs), ())
    if not pairs:
        return ""
    words = (
        "Each sample here is one of those that come nearest to a training picture; that picture stands at its"
        " right. Alike in kind is as it should be; the same picture says that the model recites."
    )
    shown = "".join(_side_by_side(pair) for pair in pairs)
    return f'<h2>Nearest to the training pictures</h2>\n<p>{words}</p>\n<div class="pictures">{shown}</div>'


def _side_by_side(pair: Pair) -> str:
    share = f", {pair.distance / pair.typical:.2f} of the usual distance" if pair.typical > 0 else ""
    words = f"sample {pair.sample + 1} | training picture {pair.training + 1}{share}"
    drawn = data_uri(sheet([pair.made, pair.learnt], 2))
    return f'<figure><img alt="{harmless(words)}" src="{drawn}"><figcaption>{harmless(words)}</figcaption></figure>'


def _pictures(report: Report) -> str:
    pictures = report.pictures
    if pictures is None:
        return ""
    shown = pictures[:_SHOWN_PICTURES]
    words = f"the first {len(shown):,} of {len(pictures):,} samples, none chosen"
    drawn = data_uri(sheet(list(shown), 8))
    return (
        f'<h2>Samples</h2>\n<figure><img class="sheet" alt="{words}" src="{drawn}">'
        f"<figcaption>{words[0].upper()}{words[1:]}.</figcaption></figure>"
    )


def _computed(report: Report) -> str:
    rows = "".join(
        f"<dt>{harmless(_name(score.name))} <code>{harmless(score.name)}</code></dt><dd>{harmless(score.note)}</dd>"
        for score in [*report.scores, *report.baselines]
    )
    return f"<h2>How each number was computed</h2>\n<dl>{rows}</dl>"


def _foot(report: Report) -> str:
    by = f"Written by {harmless(report.created_by)}. " if report.created_by else ""
    return f"<footer>{by}This page asks nothing of the network.</footer>"


def _content(report: Report) -> str:
    return _CONTENT.get(report.kind, "text")


def _held_out(report: Report) -> str:
    if report.kind == "image":
        return "reference"
    return (
        f"{harmless(report.split)} {_content(report)} {'themselves' if report.kind in _CONTENT else 'itself'}"
    )


def _size(score: Score) -> str:
    """What a unit of bits is counted over: `byte` of `bits/byte`."""
    return score.unit.rpartition("/")[2]


def _plain(value: Any) -> str:
    """A JSON value in words; a table as its names and values."""
    if isinstance(value, Mapping):
        return ", ".join(
            f"{name} ({_plain(inner)})" if isinstance(inner, Mapping) else f"{name} {_plain(inner)}"
            for name, inner in value.items()
        )
    return f"{value:,}" if isinstance(value, int) else str(value)


def _name(name: str) -> str:
    base, _, extractor = name.rpartition("_")
    if name not in NAMES and base in NAMES:
        return f"{NAMES[base]}, by {extractor}"
    return NAMES.get(name, name.replace("_", " "))


def _number(value: float | None, unit: str) -> str:
    value = finite(value)
    if value is None:
        return "–"
    if unit == "share":
        return f"{100 * value:.1f} %"
    if unit == "distance":
        return f"{value:.4g}"
    return f"{value:,.0f}" if unit in ("characters", "notes") else f"{value:.3f}"


def _interval(score: Score) -> str:
    if not score.interval or None in map(finite, score.interval):
        return ""
    low, high = (_number(end, score.unit).removesuffix(" %") for end in score.interval)
    return f"{low} to {high}{' %' if score.unit == 'share' else ''}"


def harmless(text: str) -> str:
    """Text from outside, made harmless: no tag, and no half of a surrogate pair, which UTF-8 cannot hold."""
    return escape(text.encode("utf-8", "replace").decode("utf-8"))
