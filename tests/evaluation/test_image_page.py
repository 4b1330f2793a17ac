"""The page of a report on pictures: the samples, the nearest pairs, and nothing fetched."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from tests.evaluation.toy_pictures import bars

from bowerbird.evaluation.page import html
from bowerbird.evaluation.pictures import data_uri, sheet
from bowerbird.evaluation.report import Pair, Report, Score

PICTURES = bars(70, 1)[0]
HOSTILE = '"><script>alert(1)</script>'


def report() -> Report:
    pairs = tuple(Pair(at, at + 5, 0.5, 2.0, PICTURES[at], PICTURES[at + 5]) for at in range(3))
    scores = [
        Score("fid", 12.345678, "distance", "lower", 100, (11.0, 14.0), HOSTILE, 3.0),
        Score("fid_gradients", 0.0, "distance", "lower", 100),
        Score("recall", 0.5, "share", "higher", 100, (0.4, 0.6), "note", 0.7),
        Score("copied_share", 0.01, "share", "lower", 100, note="No sign", reference=0.01, pairs=pairs),
    ]
    return Report(HOSTILE, "sha256:ab", "image", "test", scores, samples=PICTURES)


def shown(page: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/png;base64,([A-Za-z0-9+/=]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(content))) for content in found]


def test_the_page_shows_the_nearest_pairs_and_a_sheet_of_samples() -> None:
    page = html(report())
    *pairs, samples = shown(page)
    assert [image.size for image in pairs] == [(64 * 2 + 6, 68)] * 3
    assert samples.size == (8 * 64 + 9 * 2, 8 * 64 + 9 * 2)
    assert "sample 1 | training picture 6, 0.25 of the usual distance" in page
    assert "The first 64 of 70 samples, none chosen" in page
    corner = np.asarray(samples)[2:66:4, 2:66:4, :3]
    assert np.array_equal(corner, PICTURES[0])


def test_the_page_names_the_scores_and_their_references() -> None:
    page = html(report())
    for words in (
        "Frechet distance (FID), by gradients",
        "12.35",
        "<th>reference</th>",
        "50.0 %",
        "11 to 14",
    ):
        assert words in page


def test_the_page_fetches_nothing_and_escapes_what_is_from_outside() -> None:
    page = html(report())
    assert "<script" not in page
    assert set(re.findall(r'src="([a-z]+:[a-z/]+);', page)) == {"data:image/png"}
    assert page.count("src=") == 4
    bare = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?:|//|@import|url\((?!#)", bare)


def test_pictures_are_not_in_the_json() -> None:
    value = report().to_json()
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert value["samples"] == []
    assert "pairs" not in value["scores"][3]


def test_equal_reports_give_equal_pages() -> None:
    assert html(report()) == html(report())


def test_a_report_without_samples_has_a_page() -> None:
    html(Report("m", "sha256:ab", "image", "valid", [], samples=PICTURES[:0]))
    html(Report("m", "sha256:ab", "image", "valid", [Score("fid", None, "distance", "lower", 0)]))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_sheet_takes_any_channels_and_leaves_its_gaps_open(channels: int) -> None:
    pictures = [np.full((40, 40, channels), 255, np.uint8)] * 3
    drawn = sheet(pictures, 2)
    assert drawn.shape == (2 * 80 + 6, 2 * 80 + 6, 4)
    assert drawn[2, 2].tolist() == [255, 255, 255, 255]
    assert drawn[0, 0, 3] == drawn[82, 2, 3] == drawn[100, 100, 3] == 0
    assert data_uri(drawn).startswith("data:image/png;base64,iVBOR")


def test_what_is_transparent_is_white_on_a_sheet() -> None:
    assert sheet([np.zeros((64, 64, 4), np.uint8)], 1)[32, 32].tolist() == [255, 255, 255, 255]
