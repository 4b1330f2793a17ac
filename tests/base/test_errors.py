"""Errors: each class has its exit code and HTTP status; each message says what, where and what to do."""

from __future__ import annotations

import errno
import re

import pytest

from bowerbird.base import errors
from bowerbird.base.errors import (
    BowerbirdError,
    MissingExtra,
    StorageError,
    UnknownName,
    nearest,
    storage_errors,
)
from bowerbird.base.shelf import Shelf

TABLE = {
    "BowerbirdError": (3, 400),
    "UsageError": (2, 400),
    "UnknownName": (2, 400),
    "MissingExtra": (2, 501),
    "BudgetTooShort": (2, 400),
    "DataError": (3, 422),
    "CorruptFile": (3, 422),
    "StorageError": (3, 507),
    "NotFound": (4, 404),
    "Refused": (5, 403),
    "Diverged": (3, 422),
    "Interrupted": (130, 503),
}
"""The exit codes are the contract's: 2 wrong usage, 3 bad input, 4 not found, 5 refused, 130 interrupted."""


def test_every_class_has_the_codes_that_are_promised() -> None:
    found = {
        name: (value.exit_code, value.http_status)
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BowerbirdError)
    }
    assert found == TABLE


def test_the_tree_at_the_top_of_the_module_is_the_truth() -> None:
    drawn = re.findall(r"^[│├└─ ]*(\w+) +exit +(\d+) +HTTP (\d+)", errors.__doc__ or "", re.MULTILINE)
    assert {name: (int(code), int(status)) for name, code, status in drawn} == TABLE


def test_a_message_has_what_where_and_hint_each_on_its_line() -> None:
    assert (
        str(BowerbirdError("it broke", where="a.txt", hint="mend it"))
        == "it broke\n  where: a.txt\n  hint: mend it"
    )
    assert str(BowerbirdError("it broke")) == "it broke"


def test_an_unknown_name_names_the_nearest_and_all() -> None:
    error = UnknownName("cell", "lstn", ["rnn", "lstm", "gru"])
    assert error.what == "there is no cell called `lstn`"
    assert error.hint == "did you mean `lstm`? choose from: gru, lstm, rnn"
    assert UnknownName("cell", "zzz", ["rnn"]).hint == "choose from: rnn"


def test_a_shelf_answers_a_wrong_name_with_the_right_one() -> None:
    shelf = Shelf("cell", lstm=1, gru=2)
    assert (shelf["gru"], list(shelf)) == (2, ["lstm", "gru"])
    with pytest.raises(UnknownName, match="did you mean `lstm`"):
        shelf["lsmt"]
    assert shelf.get("none") is None
    shelf["mine"] = 3
    assert shelf["mine"] == 3


def test_a_missing_extra_says_how_to_install_it() -> None:
    assert MissingExtra("reading PDF", "gather").hint == "pip install 'bowerbird[gather]'"
    assert "or leave it out" in str(MissingExtra("x", "eval", instead="leave it out").hint)


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG]
)
def test_what_a_disk_says_no_with_is_a_storage_error_that_names_the_place(number: int) -> None:
    with pytest.raises(StorageError, match="could not write") as found, storage_errors("folder"):
        raise OSError(number, "no", "folder/file")
    assert (found.value.where, bool(found.value.hint)) == ("folder/file", True)


def test_any_other_fault_of_the_system_is_not_hidden() -> None:
    with pytest.raises(OSError, match="odd"), storage_errors("folder"):
        raise OSError(errno.EIO, "odd")


def test_the_nearest_name_is_near_or_none() -> None:
    assert nearest("generat", ["train", "generate"]) == "generate"
    assert nearest("zebra", ["train", "generate"]) is None
    assert nearest("x", []) is None
