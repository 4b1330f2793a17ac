"""The journal of a run: `metrics.jsonl`, one flat JSON object a line, in the order things happened."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bowerbird.base.errors import CorruptFile, storage_errors
from bowerbird.base.files import private, write_whole

Record = dict[str, Any]
Listener = Callable[[Record], None]


class Journal:
    """Appends records to a file and hands each to a listener (the console, a page)."""

    def __init__(self, path: Path, listener: Listener | None = None):
        self.path = path
        self.listener = listener

    def write(self, **record: Any) -> None:
        with storage_errors(self.path), open(self.path, "a", encoding="utf-8", opener=private) as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
        if self.listener:
            self.listener(record)

    def read(self) -> list[Record]:
        """All whole lines; a last line that a crash cut short is left out.

        Raises:
            CorruptFile: it is a link, or no file.
        """
        records: list[Record] = []
        if self.path.is_symlink() or self.path.exists():
            if not stat.S_ISREG(self.path.lstat().st_mode):
                raise CorruptFile("this journal is a link, or no file", where=self.path)
            # Split at newlines alone: a sampled text may hold other line ends, which JSON leaves as they are.
            for line in self.path.read_text(encoding="utf-8", errors="replace").split("\n"):
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(record, dict):
                    records.append(record)
        return records

    def rewind(self, step: int) -> None:
        """Forget what was written after `step`: a resumed run will write it again."""
        kept = [record for record in self.read() if record.get("step", 0) <= step]
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
        write_whole(self.path, text.encode())
