"""Which folders are classes."""

from __future__ import annotations

import pytest

from bowerbird.data.classes import Classes, in_order


def classes(sources: list[str], *origins: str) -> list[str | None]:
    told = Classes(sources)
    for origin in origins:
        told.add(origin, None)
    return told.of_all()


def test_two_folders_with_pictures_are_two_classes() -> None:
    assert classes(["pics"], "pics/cat/1.png", "pics/dog/1.png", "pics/cat/2.png") == ["cat", "dog", "cat"]
    assert classes(["pics/"], "pics/cat/1.png", "pics/dog/1.png") == ["cat", "dog"]
    assert classes(["."], "./cat/1.png", "./dog/1.png") == ["cat", "dog"]


def test_one_folder_is_no_class() -> None:
    assert classes(["pics"], "pics/cat/1.png", "pics/cat/2.png") == [None, None]


def test_pictures_beside_the_folders_make_them_no_classes() -> None:
    assert classes(["pics"], "pics/cat/1.png", "pics/dog/1.png", "pics/3.png") == [None] * 3
    assert classes(["pics"], "pics/cat/1.png", "pics/cat/old/1.png", "pics/dog/1.png") == [None] * 3


def test_folders_around_all_do_not_matter_and_splits_share_their_classes() -> None:
    assert classes(["a.zip"], "a.zip#a/cat/1.png", "a.zip#a/dog/1.png") == ["cat", "dog"]
    found = classes(["d"], "d/train/cat/1.png", "d/test/cat/1.png", "d/train/dog/1.png")
    assert found == ["cat", "cat", "dog"]
    assert classes(["d"], "d/train/1.png", "d/test/1.png") == [None, None]


def test_folders_of_one_name_in_different_folders_are_told_apart() -> None:
    found = classes(["d"], "d/all/Latin/01/a.png", "d/all/Latin/02/a.png", "d/all/Greek/01/a.png")
    assert found == ["Latin/01", "Latin/02", "Greek/01"]
    found = classes(["d"], "d/train/Latin/01/a.png", "d/Test/Latin/01/b.png", "d/train/Greek/01/a.png")
    assert found == ["Latin/01", "Latin/01", "Greek/01"]


def test_an_archive_is_a_folder_and_a_hash_in_a_name_is_none() -> None:
    assert classes(["p"], "p/x.zip#cat/1.png", "p/x.zip#dog/1.png") == ["cat", "dog"]
    assert classes(["p"], "p/cat/no #1.png", "p/dog/no #2.png") == ["cat", "dog"]
    assert classes(["p"], "p/cat#1/1.png", "p/cat#2/1.png") == ["cat#1", "cat#2"]


def test_each_source_is_judged_by_itself() -> None:
    found = classes(["a", "b"], "a/cat/1.png", "a/dog/1.png", "b/1.png", "b/cat/1.png")
    assert found == ["cat", "dog", None, None]
    assert classes(["a", "ab"], "ab/cat/1.png", "ab/dog/1.png") == ["cat", "dog"]


def test_what_a_table_tells_is_the_class_and_its_rows_lie_in_no_folder() -> None:
    told = Classes(["p"])
    told.add("p/a/t.parquet#1", "cat")
    told.add("p/b/t.parquet#2", None)
    told.add("p/b/t.parquet#3", "")
    assert told.of_all() == ["cat", None, None]
    assert len(told) == 3


@pytest.mark.parametrize(
    ("names", "order"), [({"10", "9", "0"}, ["0", "9", "10"]), ({"b", "a", "2"}, ["2", "a", "b"])]
)
def test_classes_are_sorted_and_numbers_by_size(names: set[str], order: list[str]) -> None:
    assert in_order(names) == order
