"""Builds the app, runs one command, and turns what goes wrong into an exit code and three plain lines."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError
from cyclopts.config import Env

from bowerbird import __version__
from bowerbird.base.errors import BowerbirdError, StorageError, UsageError
from bowerbird.cli import (
    demo,
    events,
    judging,
    keeping,
    keys,
    making,
    monitoring,
    porting,
    securing,
    serving,
    show,
    updating,
)


def build_app() -> App:
    app = App(
        name="bowerbird",
        help=(
            "Your own generative model, from a folder of your own texts to a served answer.\n\n"
            "Start with: bowerbird demo"
        ),
        version=__version__,
        config=Env("BOWERBIRD_", command=False),
        version_flags=("--version",),
    )
    for module in (
        demo,
        making,
        judging,
        keeping,
        porting,
        securing,
        serving,
        keys,
        events,
        monitoring,
        updating,
    ):
        module.add(app)
    for place, name in enumerate(list(app)):  # listed in the order of a model's life, not of the alphabet
        if not name.startswith("-"):
            app[name].sort_key = place
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code of the contract; a fault of ours shows its traceback (1)."""
    show.log_to_stderr()
    try:
        build_app()(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        show.error(_usage(error))
        return UsageError.exit_code
    except BowerbirdError as error:
        show.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        show.STDERR.print("stopped")
        return 130
    except BrokenPipeError:  # whoever read our output has gone: `bowerbird versions | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except PermissionError as error:
        show.error(
            StorageError("no permission to read", where=error.filename, hint="ask for it, or use a copy")
        )
        return StorageError.exit_code
    except Exception:
        logging.getLogger(__name__).exception("this is a fault of bowerbird's, please report it")
        return 1
    return 0


def _usage(error: CycloptsError) -> UsageError:
    chain = " ".join(error.command_chain or ())
    return UsageError(str(error), hint=f"bowerbird {chain} --help".replace("  ", " "))
