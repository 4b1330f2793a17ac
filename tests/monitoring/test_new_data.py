"""What is learnt next: taken once, masked, blocked, and never mostly one key's or the model's own."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from bowerbird.base.errors import NotFound, UsageError
from bowerbird.monitoring.blocked import Patterns
from bowerbird.monitoring.caps import over
from bowerbird.monitoring.feedback import Verdict, export, read
from bowerbird.monitoring.gather import gather
from bowerbird.monitoring.sieve import Gathered, GatherRules, essence

WORDS = [
    "sea",
    "stone",
    "lark",
    "rain",
    "lamp",
    "door",
    "field",
    "salt",
    "slowly",
    "turned",
    "never",
    "again",
    "cold",
]


def text(seed: int, words: int = 60) -> str:
    """A text of its own, about 320 characters."""
    chosen = random.Random(seed)
    return " ".join(chosen.choice(WORDS) + chosen.choice(["", "", "s", "ing"]) for _ in range(words)) + ".\n"


def verdict(number: int, **changes: Any) -> Verdict:
    fields: dict[str, Any] = {
        "id": f"fb-{number}",
        "time": 1000.0 + number,
        "model": "poems@live",
        "digest": "sha256:a",
        "answer": f"cmpl-{number}",
        "owner": "",
        "prompt": "",
        "text": f"an answer {number}",
        "rating": None,
    }
    return Verdict(**{**fields, **changes})


def corrected(number: int, owner: str = "", words: str | None = None) -> Verdict:
    return verdict(number, owner=owner, correction=text(number) if words is None else words)


def liked(number: int, owner: str = "", words: str | None = None) -> Verdict:
    return verdict(number, owner=owner, text=text(number) if words is None else words, rating=1.0)


def gathered(
    folder: Path, *sources: Path, verdicts: Iterable[Verdict] = (), chat: bool = False, **rules: Any
) -> Gathered:
    return gather(
        folder,
        GatherRules.model_validate(rules),
        sources=[str(source) for source in sources],
        verdicts=verdicts,
        chat=chat,
    )


def rows(found: Gathered) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (found.folder / "documents.jsonl").read_text().splitlines()]


def ledger(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "gathered.jsonl").read_text().splitlines()]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twenty texts of a person's own."""
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number:02}.txt").write_text(text(number))
    return folder


def test_sources_and_feedback_come_together_with_their_origin(source: Path, tmp_path: Path) -> None:
    found = gathered(
        tmp_path / "work", source, verdicts=[corrected(100), liked(200), verdict(300, rating=-1.0)]
    )
    assert found.documents == 22
    origins = [row["origin"] for row in rows(found)]
    assert origins == ["person"] * 21 + ["model"]
    assert rows(found)[-1]["source"] == "feedback fb-200"
    assert 0 < found.made / found.characters < 0.25
    assert {line["status"] for line in ledger(tmp_path / "work")} == {"kept"}
    again = gathered(tmp_path / "again", source, verdicts=[corrected(100), liked(200)])
    assert again.digest == found.digest


def test_the_same_text_ten_thousand_times_is_taken_once(source: Path, tmp_path: Path) -> None:
    same = text(500)
    flood = [
        corrected(number, "mallory", f"{number} {same.upper() if number % 2 else same}")
        for number in range(10_000)
    ]
    found = gathered(tmp_path / "work", source, verdicts=flood)
    assert found.documents == 21
    assert found.refused["the same as another"] == 9_999


def test_one_key_s_flood_is_cut_to_its_share(source: Path, tmp_path: Path) -> None:
    flood = [corrected(number, "mallory") for number in range(1_000, 2_000)]
    found = gathered(tmp_path / "work", source, verdicts=flood)
    theirs = [row for row in rows(found) if row["source"].startswith("feedback")]
    size = sum(len(row["text"]) for row in theirs)
    assert 0 < size <= 0.25 * found.characters
    assert found.refused["over the share of one key"] == 1_000 - len(theirs)
    assert any("mallory" in (line["reason"] or "") for line in ledger(tmp_path / "work"))


def test_a_flood_alone_leaves_nothing(tmp_path: Path) -> None:
    found = gathered(tmp_path / "work", verdicts=[corrected(number, "mallory") for number in range(100)])
    assert found.documents == 0
    assert found.refused == {"over the share of one key": 100}


def test_what_the_model_made_is_capped(source: Path, tmp_path: Path) -> None:
    found = gathered(tmp_path / "work", source, verdicts=[liked(number) for number in range(1_000, 1_200)])
    assert 0.15 < found.made / found.characters <= 0.25
    assert found.refused["over the share of what the model made"] > 150
    alone = gathered(tmp_path / "alone", verdicts=[liked(number) for number in range(100)])
    assert alone.documents == 0


def test_exported_feedback_keeps_its_origin(source: Path, tmp_path: Path) -> None:
    exported = tmp_path / "feedback.jsonl"
    lines = [{"text": text(700 + at), "origin": "model" if at % 2 else "person"} for at in range(6)]
    exported.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = gathered(tmp_path / "work", source, exported)
    assert [row["origin"] for row in rows(found)[-6:]] == ["person", "model"] * 3


def test_private_data_is_masked_before_anything_is_written(source: Path, tmp_path: Path) -> None:
    words = f"write to jane.doe@example.org or +44 20 7946 0958, see https://example.org/jane {text(9_000)}"
    found = gathered(tmp_path / "work", source, verdicts=[corrected(1, words=words)])
    assert found.masked == 1
    written = "".join(path.read_text() for path in (tmp_path / "work").rglob("*") if path.is_file())
    assert "jane" not in written
    assert "7946" not in written
    assert "<email>" in written


def test_blocked_words_are_left_out_and_the_line_is_told(source: Path, tmp_path: Path) -> None:
    patterns = tmp_path / "blocked.txt"
    patterns.write_text("# ours\n\n\\bdarn(ed)?\\b\n")
    found = gathered(
        tmp_path / "work",
        source,
        verdicts=[corrected(1, words=f"DARNED {text(1)}"), corrected(2)],
        block=patterns,
    )
    assert found.refused["blocked"] == 1
    reasons = [line["reason"] for line in ledger(tmp_path / "work") if line["status"] == "refused"]
    assert any("line 3" in reason for reason in reasons)
    assert "DARNED" not in (tmp_path / "work" / "gathered.jsonl").read_text()


def test_a_file_of_patterns_is_checked(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Patterns.read(tmp_path / "none")
    (tmp_path / "bad").write_text("fine\n(\n")
    with pytest.raises(UsageError, match="line 2"):
        Patterns.read(tmp_path / "bad")


def test_near_duplicates_are_taken_once(source: Path, tmp_path: Path) -> None:
    long = text(5_000, words=400)
    other = long.replace(long.split()[200], "altogether", 1)
    found = gathered(
        tmp_path / "work", source, verdicts=[corrected(1, words=long), corrected(2, words=other)]
    )
    assert found.documents == 21
    assert found.refused == {"nearly the same as another": 1}


def test_what_others_found_bad_is_not_learnt(source: Path, tmp_path: Path) -> None:
    words = text(8_000)
    verdicts = [liked(1, "a", words), verdict(2, owner="b", text=words, rating=-1.0)]
    found = gathered(tmp_path / "work", source, verdicts=verdicts)
    assert found.refused == {"found bad by as many": 1}
    # To say it again and again is to say it once.
    stuffed = [*verdicts, *(liked(number, "a", words) for number in range(10, 100))]
    assert gathered(tmp_path / "stuffed", source, verdicts=stuffed).documents == 20


def test_what_was_learnt_from_before_is_not_new(source: Path, tmp_path: Path) -> None:
    known = {essence(text(number)) for number in range(5)}
    found = gather(
        tmp_path / "work", GatherRules(), sources=[str(source)], known=lambda said: essence(said) in known
    )
    assert found.documents == 15
    assert found.refused == {"learnt from before": 5}


def test_chats_are_kept_as_turns(tmp_path: Path) -> None:
    chats = tmp_path / "chats.jsonl"
    turns = [{"role": "user", "content": "hello there"}, {"role": "assistant", "content": "good day"}]
    chats.write_text(json.dumps({"messages": turns}) + "\n")
    verdicts = [
        verdict(1, prompt="how are you", correction="quite well, and you"),
        verdict(2, prompt="", correction="nobody knows to what"),
    ]
    found = gathered(tmp_path / "work", chats, verdicts=verdicts, chat=True)
    assert rows(found)[0]["messages"] == turns
    assert rows(found)[1]["messages"] == [
        {"role": "user", "content": "how are you"},
        {"role": "assistant", "content": "quite well, and you"},
    ]
    assert found.refused == {"what the answer was to is not known": 1}


def test_a_chat_s_turns_come_through_feedback_as_the_server_wrote_it(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "how are you"}]
    row = {"id": "fb-1", "time": 1.0, "origin": "chatcmpl-1", "owner": "", "model": "talk", "digest": None}
    row |= {"prompt": turns, "text": "fine", "rating": -1.0, "comment": None, "correction": "quite well"}
    spoilt = {**row, "prompt": [{"role": "nobody", "content": "x"}]}
    (tmp_path / "talk@live.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (row, spoilt)))
    [said] = read(tmp_path, "talk")
    assert (said.prompt, said.turns) == ("how are you", (("system", "be brief"), ("user", "how are you")))
    found = gathered(tmp_path / "work", verdicts=[said], chat=True)
    assert rows(found)[0]["messages"] == [*turns, {"role": "assistant", "content": "quite well"}]
    export([said], tmp_path / "exported", chat=True)
    exported = json.loads((tmp_path / "exported" / "feedback.jsonl").read_text())
    assert exported["messages"] == rows(found)[0]["messages"]


def test_two_floods_make_no_room_for_each_other() -> None:
    sizes = [10] * 10 + [1_000] * 100 + [1_000] * 100
    groups = {"a": list(range(10, 110)), "b": list(range(110, 210))}
    gone = over(sizes, groups, {"a": 0.25, "b": 0.25})
    kept = [one for one in range(len(sizes)) if one not in gone]
    total = sum(sizes[one] for one in kept)
    for members in groups.values():
        assert sum(sizes[one] for one in members if one in kept) <= 0.25 * total
    assert set(range(10)) <= set(kept)


def test_caps_of_one_keep_all_and_of_nothing_none() -> None:
    assert over([5, 5], {"a": [0, 1]}, {"a": 1.0}) == {}
    assert over([5, 5], {"a": [0, 1]}, {"a": 0.0}) == {0: "a", 1: "a"}
    assert over([], {}, {}) == {}
