"""Settings: later layers win, all that is wrong is told at once, and a wrong key is answered with the right one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from bowerbird.base.config import (
    Config,
    dotted,
    dotted_keys,
    merged,
    parse_settings,
    read_config_file,
    resolve,
)
from bowerbird.base.errors import NotFound, UsageError
from bowerbird.kinds.text_settings import TextRun


class Inner(Config):
    width: int = Field(8, ge=1)
    dropout: float = 0.0


class Outer(Config):
    seed: int = 1
    name: str = "x"
    inner: Inner = Inner()
    parts: tuple[str, ...] = ()


def told(*layers: dict[str, Any], file: Path | None = None, settings: tuple[str, ...] = ()) -> Outer:
    return resolve(Outer, *layers, config_file=file, settings=settings, where="here")


def test_preset_then_file_then_set_and_later_wins(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("seed: 3\ninner:\n  width: 30\n")
    preset = {"seed": 2, "name": "preset", "inner": {"width": 20, "dropout": 0.2}}
    found = told(
        {"name": "default", "seed": 0}, preset, file=file, settings=("inner.width=40", "inner.width=41")
    )
    assert found == Outer(seed=3, name="preset", inner=Inner(width=41, dropout=0.2))


NESTED = st.recursive(
    st.integers() | st.none(),
    lambda below: st.dictionaries(st.sampled_from("abc"), below, max_size=3),
    max_leaves=6,
)
TABLES = st.dictionaries(st.sampled_from("abc"), NESTED, max_size=3)


@given(TABLES, TABLES, TABLES)
def test_layers_are_laid_one_after_another_and_are_not_changed(a: Any, b: Any, c: Any) -> None:
    before = repr((a, b, c))
    assert merged(a, b, c) == merged(merged(a, b), c)
    assert merged(a, {}) == merged({}, a) == merged(a, a) == a
    assert repr((a, b, c)) == before


@pytest.mark.parametrize(
    ("text", "value"),
    [("seed=4", {"seed": 4}), ("a.b.c=x", {"a": {"b": {"c": "x"}}}), ("a=", {"a": ""}), ("a=null", {"a": None}),
     ("a=[p, q]", {"a": ["p", "q"]}), ("a=b=c", {"a": "b=c"}), ("a=0.5", {"a": 0.5}), ("a=true", {"a": True}),
     (" a = 1", {"a": 1})],
)  # fmt: skip
def test_a_setting_is_read_as_yaml(text: str, value: Any) -> None:
    assert parse_settings([text]) == value


def test_numbers_with_an_exponent_are_numbers() -> None:
    assert resolve(TextRun, settings=["optimizer.learning_rate=1e-4"]).optimizer.learning_rate == 1e-4


@pytest.mark.parametrize("wrong", ["seed", "=3", "a..b=1", ".a=1", "a.=1", "", "--seed 3"])
def test_a_setting_without_key_or_value_shows_how_one_is_written(wrong: str) -> None:
    with pytest.raises(UsageError, match=r"dotted\.key=value") as found:
        parse_settings([wrong])
    assert "--set model.width=256" in str(found.value.hint)


def test_a_value_that_is_not_yaml_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        parse_settings(["parts=[a"])


@pytest.mark.parametrize(
    ("key", "right"),
    [("sead", "seed"), ("inner.widht", "inner.width"), ("width", "inner.width"), ("iner.width", "inner.width"),
     ("dropuot", "inner.dropout")],
)  # fmt: skip
def test_an_unknown_key_is_answered_with_the_right_one(key: str, right: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean `{right}`"):
        told(settings=(f"{key}=1",))


def test_a_key_like_no_other_is_refused_without_a_guess() -> None:
    with pytest.raises(UsageError) as found:
        told(settings=("zzqqy=1",))
    assert "zzqqy" in found.value.what
    assert "did you mean" not in found.value.what


@pytest.mark.parametrize(
    ("key", "right"),
    [("modle.width", "model.width"), ("model.droput", "model.dropout"), ("batchsize", "batch_size"),
     ("learning_rate", "optimizer.learning_rate"), ("model.hidden_width", "model.width"), ("lenght", "length")],
)  # fmt: skip
def test_a_misspelt_setting_of_a_run_is_answered_with_the_right_one(key: str, right: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean `{right}`"):
        resolve(TextRun, settings=[f"{key}=1"])


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(UsageError) as found:
        told({"sead": 1}, settings=("inner.width=0", "inner.dropout=much", "name=[1]"))
    what = found.value.what
    assert all(part in what for part in ("`sead`", "`inner.width`", "`inner.dropout`", "`name`")), what
    assert "'much'" in what
    assert found.value.where == "here"
    assert found.value.exit_code == 2


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "nan"])
def test_a_number_that_is_not_finite_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match=r"`inner\.dropout`"):
        told(settings=(f"inner.dropout={value}",))


@pytest.mark.parametrize(
    "wrong",
    ["seed=-1", "batch_size=0", "length=0", "patience=0", "optimizer.learning_rate=0", "optimizer.learning_rate=-1",
     "optimizer.clip=0", "optimizer.beta1=1", "optimizer.weight_decay=-1", "precision=float16", "mix.share=1",
     "model=3", "threads=0", "evaluate_every=0", "model.width=1e9"],
)  # fmt: skip
def test_a_setting_of_a_run_that_cannot_be_is_refused_before_any_work(wrong: str) -> None:
    with pytest.raises(UsageError, match=f"`{wrong.partition('=')[0]}`"):
        resolve(TextRun, settings=[wrong])


def test_a_table_laid_over_a_value_is_told_as_a_wrong_value() -> None:
    with pytest.raises(UsageError, match="`seed`"):
        told(settings=("seed.deep=1",))


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Outer().seed = 3  # type: ignore[misc]


def test_a_config_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_config_file(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "content",
    [b"a: [1", b"\xff\xfe\x00", b"- 1\n- 2\n", b"just words", b"a: b: c", b"a: !!python/object:os.system x"],
)
def test_a_config_file_that_holds_no_settings_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(UsageError) as found:
        read_config_file(tmp_path / "c.yaml")
    assert found.value.where == str(tmp_path / "c.yaml")


def test_an_empty_config_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("# nothing yet\n")
    assert read_config_file(tmp_path / "c.yaml") == {}
    with pytest.raises(UsageError):
        read_config_file(tmp_path)


def test_every_setting_has_one_dotted_name() -> None:
    assert dotted_keys(Outer) == ["seed", "name", "inner.width", "inner.dropout", "parts"]


def test_nested_values_are_written_as_assignments_that_are_read_back() -> None:
    values = {
        "a": {"b": 0.5, "c": None, "d": ["x", "y"]},
        "e": True,
        "f": "a: b",
        "g": "none",
        "h": "",
        "i": {},
    }
    assert parse_settings(dotted(values)) == values
