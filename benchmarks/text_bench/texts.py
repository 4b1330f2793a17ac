"""The texts of the benchmark: names and where they lie, and how each is prepared, the same for all contestants."""

from __future__ import annotations

from pathlib import Path

from bowerbird.base.errors import NotFound, UnknownName, UsageError

IN_DATA = {"tinyshakespeare": "tinyshakespeare/input.txt", "names": "names/names.txt"}
DEMOS = {"chat": "demo:chat", "speeches": "demo:speeches"}
SPLIT = ("split.valid=0.1", "split.test=0")


def sources_of(wanted: str | None, data: Path | None) -> dict[str, str]:
    """Names of texts and what `prepare` is given, from a list with commas; by default all that can be had.

    Raises:
        UsageError: a name or file is not known, needs `--data`, or stands there twice.
    """
    if wanted is None:
        wanted = ",".join([*(IN_DATA if data else ()), *DEMOS])
    sources: dict[str, str] = {}
    for text in [part.strip() for part in wanted.split(",") if part.strip()]:
        name, source = _located(text, data)
        if name in sources:
            raise UsageError(f"two texts are called `{name}`", hint="rename one of the files")
        sources[name] = source
    if not sources:
        raise UsageError("name at least one text", hint=f"--texts {','.join(DEMOS)}")
    return sources


def _located(text: str, data: Path | None) -> tuple[str, str]:
    if text in DEMOS:
        return text, DEMOS[text]
    if text in IN_DATA:
        if data is None:
            raise UsageError(
                f"the text `{text}` needs the folder it lies in", hint=f"--data DIR, with DIR/{IN_DATA[text]}"
            )
        path = data / IN_DATA[text]
        if not path.is_file():
            raise NotFound(f"the text `{text}` is not there", where=path, hint="--data DIR names its folder")
        return text, str(path.absolute())
    if Path(text).is_file():
        return Path(text).stem, str(Path(text).absolute())
    if "/" in text or "." in text:
        raise NotFound("there is no such text file", where=text, hint="a path, or a name of a text")
    raise UnknownName("text", text, [*IN_DATA, *DEMOS])
