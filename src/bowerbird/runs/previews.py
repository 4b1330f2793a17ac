"""What a run shows of its model on the way: texts in the journal, pictures in `samples/`, a film of these."""

from __future__ import annotations

from pathlib import Path

from bowerbird.base.files import write_whole
from bowerbird.base.journal import Journal
from bowerbird.kinds.loaded import Model
from bowerbird.runs.run import Run, checkpoint_name
from bowerbird.store.bundle import open_bundle

FILM = "timelapse.webp"


def show_preview(run: Run, step: int, journal: Journal) -> None:
    """Let the model that was saved at `step` make something for whoever watches."""
    model = Model(open_bundle(run.path / "checkpoints" / checkpoint_name(step) / "bundle"))
    text, picture = run.kind.preview.make(model, step)
    if picture:
        path = _folder(run.path) / f"{checkpoint_name(step)}.png"
        write_whole(path, picture)
        journal.write(event="sample", step=step, text=text, path=str(path.relative_to(run.path)))
    else:
        journal.write(event="sample", step=step, text=text)


def rewind_previews(run_path: Path, step: int) -> None:
    """Forget what was made after `step`: a resumed run will make it again."""
    for path in _pictures(run_path):
        if int(path.stem) > step:
            path.unlink(missing_ok=True)


def write_film(run: Run) -> None:
    """`timelapse.webp` from all pictures, where the kind has one and there are two or more."""
    pictures = _pictures(run.path)
    if run.kind.preview.film is not None and len(pictures) > 1:
        write_whole(run.path / FILM, run.kind.preview.film([path.read_bytes() for path in pictures]))


def _folder(run_path: Path) -> Path:
    return run_path / "samples"


def _pictures(run_path: Path) -> list[Path]:
    return sorted(path for path in _folder(run_path).glob("*.png") if path.stem.isdecimal())
