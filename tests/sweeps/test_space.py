"""What --vary says: lists and ranges, read, checked and written back."""

from __future__ import annotations

from typing import Any

import pytest

from bowerbird.base.config import parse_settings
from bowerbird.base.errors import UsageError
from bowerbird.kinds.text_settings import TextRun
from bowerbird.sweeps.space import Range, Values, assignments, count, grid, read_space


def read(*vary: str) -> dict[str, Values | Range]:
    return read_space(vary, TextRun)


def test_a_list_keeps_its_values_and_their_order() -> None:
    assert read("batch_size=16,64,32", "size=small,medium") == {
        "batch_size": Values((16, 64, 32)),
        "size": Values(("small", "medium")),
    }


def test_lists_of_lists_and_null_are_values() -> None:
    assert read("freeze=[],[embedding]")["freeze"] == Values(([], ["embedding"]))
    assert read("patience=null,3")["patience"] == Values((None, 3))


def test_model_is_another_name_of_the_cell() -> None:
    assert read("model=lstm,gru") == read("model.cell=lstm,gru")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model.dropout=0..0.5", Range(0.0, 0.5, log=False, whole=False)),
        ("model.dropout=.1...5", Range(0.1, 0.5, log=False, whole=False)),
        ("optimizer.learning_rate=1e-4..1e-2", Range(1e-4, 1e-2, log=True, whole=False)),
        ("optimizer.learning_rate=1e-4..1e-2:linear", Range(1e-4, 1e-2, log=False, whole=False)),
        ("optimizer.learning_rate=0.001..0.002:log", Range(0.001, 0.002, log=True, whole=False)),
        ("batch_size=8..64", Range(8, 64, log=False, whole=True)),
        ("batch_size=8..80", Range(8, 80, log=True, whole=True)),
        ("model.embedding=8..16", Range(8, 16, log=False, whole=True)),
    ],
)
def test_a_range_knows_its_scale_and_its_numbers(text: str, expected: Range) -> None:
    assert list(read(text).values()) == [expected]


def test_python_s_tuples_are_ranges_and_its_lists_are_values() -> None:
    asked: dict[str, Any] = {"batch_size": [16, 32], "model.dropout": (0.0, 0.5), "length": "8,16"}
    assert read_space(asked, TextRun) == read("batch_size=16,32", "model.dropout=0..0.5", "length=8,16")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("batchsize=1,2", "did you mean `batch_size`"),
        ("dropuot=0..0.5", "dropout"),
        ("siez=small,large", "did you mean `size`"),
        ("optimizer=1,2", "no setting `optimizer`"),
        ("batch_size", "KEY=a,b,c"),
        ("batch_size=", "KEY=a,b,c"),
        ("batch_size=[1,2", "cannot be read"),
        ("batch_size=1.5..3", "whole number"),
        ("batch_size=8..8", "no range"),
        ("model.dropout=0.5..0.1", "no range"),
        ("model.dropout=0..0.5:log", "above 0"),
        ("model.cell=1..2", "not a number"),
        ("size=1..2", "not a number"),
    ],
)
def test_what_cannot_be_varied_is_refused_and_said_why(text: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        read(text)
    assert says in str(error.value)


def test_nothing_to_vary_and_one_thing_twice_are_refused() -> None:
    with pytest.raises(UsageError, match="nothing to vary"):
        read()
    with pytest.raises(UsageError, match="given twice"):
        read("batch_size=1,2", "batch_size=4,8")


def test_a_grid_has_every_point_once_and_counts_them() -> None:
    space = read("batch_size=2..4", "model.cell=lstm,gru")
    points = list(grid(space))
    assert count(space) == len(points) == 6
    assert points[:3] == [
        {"batch_size": 2, "model.cell": "lstm"},
        {"batch_size": 2, "model.cell": "gru"},
        {"batch_size": 3, "model.cell": "lstm"},
    ]
    assert count(read("model.dropout=0..0.5")) is None


@pytest.mark.parametrize(
    "text",
    ["batch_size=16,32", "model.dropout=0..0.5", "freeze=[],[embedding]", "patience=null,3", "batch_size=8..80",
     "model.cell=lstm,'a,b','1'", "optimizer.learning_rate=1e-05..0.01:log"],
)  # fmt: skip
def test_a_space_reads_back_from_how_it_is_written(text: str) -> None:
    space = read(text)
    assert read(*(f"{key}={side}" for key, side in space.items())) == space


def test_a_point_reads_back_from_its_assignments() -> None:
    point = {"model.dropout": 0.25, "model.cell": "1", "freeze": ["embedding"], "patience": None}
    assert parse_settings(assignments(point)) == {
        "model": {"dropout": 0.25, "cell": "1"},
        "freeze": ["embedding"],
        "patience": None,
    }


def test_a_drawn_number_is_short_and_stays_inside() -> None:
    side = Range(0.00012344, 0.5, log=True, whole=False)
    assert side.near(0.123456789) == 0.1235
    assert side.near(0.00012344) == 0.00012344
    assert Range(1, 9, log=False, whole=True).near(3) == 3
