"""The proof of an export lets pass what is right, and nothing that is wrong in one case only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.store.toy_export import Change, exporter, toy, toy_pictures

from bowerbird.base.errors import Refused
from bowerbird.store.exporters.parity import LENGTHS, prove, size_of

Arrays = list[NDArray[Any]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.toy"
    path.write_bytes(b"a toy")
    return path


def test_a_right_file_is_proved_over_batches_lengths_and_states(file: Path) -> None:
    proof = prove(exporter(), file, toy())
    cases = {(case["batch"], case["length"], case["state"]) for case in proof["cases"]}
    states = {(1, "start"), (1, "carried")} | {
        (rows, state) for rows in (3, 8) for state in ("start", "carried", "mixed")
    }
    assert cases == {(rows, length, state) for rows, state in states for length in LENGTHS}
    assert proof["max_abs_difference"] == 0.0
    assert (proof["tolerance"], proof["size_bytes"]) == (1e-4, 5)
    assert proof["seconds"] >= 0


def test_a_difference_that_is_let_pass_is_told(file: Path) -> None:
    proof = prove(exporter(lambda given, made: [made[0] + np.float32(2e-5), made[1]]), file, toy())
    assert 1e-5 < proof["max_abs_difference"] < 3e-5
    assert proof["max_abs_difference"] == max(case["max_abs_difference"] for case in proof["cases"])


def at_batch_3(given: Arrays, made: Arrays) -> Arrays:
    return [made[0] + (len(given[0]) == 3), made[1]]


def one_row(given: Arrays, made: Arrays) -> Arrays:
    made[0][-1, 0] += 1e-3
    return made


def state_forgotten(given: Arrays, made: Arrays) -> Arrays:
    return [made[0], np.full_like(made[1], 0.25)]


def state_of_the_first_row(given: Arrays, made: Arrays) -> Arrays:
    return [made[0], np.repeat(made[1][:1], len(made[1]), axis=0)]


def one_token(given: Arrays, made: Arrays) -> Arrays:
    return [made[0] + 0.1 * (given[0] == 4)[:, None], made[1]]


def not_a_number(given: Arrays, made: Arrays) -> Arrays:
    made[0][0, 3] = np.nan
    return made


def one_number(given: Arrays, made: Arrays) -> Arrays:
    return [made[0][:, :1], made[1]]


def no_state(given: Arrays, made: Arrays) -> Arrays:
    return made[:1]


WRONG: tuple[Change, ...] = (
    at_batch_3,
    one_row,
    state_forgotten,
    state_of_the_first_row,
    one_token,
    not_a_number,
    one_number,
    no_state,
)


@pytest.mark.parametrize("change", WRONG, ids=lambda change: change.__name__)
def test_whatever_is_wrong_is_refused(file: Path, change: Change) -> None:
    with pytest.raises(Refused):
        prove(exporter(change), file, toy())


def test_a_refusal_names_the_worst_case(file: Path) -> None:
    with pytest.raises(Refused, match="differ by 1") as found:
        prove(exporter(at_batch_3), file, toy())
    assert str(found.value.where).startswith("batch 3, ")


def test_an_exporter_may_let_pass_more_and_have_other_batches(file: Path) -> None:
    lax = replace(exporter(one_row), tolerance=0.01, batches=(1, 8))
    proof = prove(lax, file, toy())
    assert {case["batch"] for case in proof["cases"]} == {1, 8}
    assert proof["tolerance"] == 0.01


def test_what_is_read_has_repeats_beginnings_and_any_token(file: Path) -> None:
    read: list[NDArray[Any]] = []

    def listen(given: Arrays, made: Arrays) -> Arrays:
        if len(given[0]) == 8:
            read.append(given[0])
        return made

    prove(exporter(listen), file, toy())
    tokens = np.array(read[-32:])
    assert set(np.unique(tokens)) == set(range(7)), "every token, the first of documents too"
    again = [(tokens[at - 8 : at] == tokens[at : at + 8]).all() for at in range(8, 25)]
    assert any(again), "eight tokens that were just read"
    assert len(np.unique(tokens, axis=1).T) == 8, "rows differ"


def test_pictures_are_proved_over_batches_and_noise(file: Path) -> None:
    labels: set[int] = set()

    def listen(given: Arrays, made: Arrays) -> Arrays:
        labels.update(given[1].tolist())
        return made

    proof = prove(exporter(listen), file, toy_pictures())
    assert len(proof["cases"]) == 9
    assert labels == {-1, 0, 1, 2}
    with pytest.raises(Refused):
        prove(exporter(lambda given, made: [made[0] * np.float32(1.001)]), file, toy_pictures())


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "in" / "b").write_bytes(b"123")
    assert (size_of(tmp_path), size_of(tmp_path / "a")) == (8, 5)


def test_the_model_itself_is_not_changed_by_its_proof(file: Path) -> None:
    exported = toy()
    before = {name: value.clone() for name, value in exported.weights.items()}
    prove(exporter(), file, exported)
    assert all(bool((before[name] == value).all()) for name, value in exported.weights.items())
    assert bool((exported.start["state_0"] == 0.25).all())
