"""What the `bowerbird` script calls. The bare help page is answered from a file: it must be instant.

`help.txt` is written by `make docs` from the commands themselves, and a test keeps it true.
"""

import sys
from importlib.resources import files

from bowerbird.cli.started import STARTED  # noqa: F401 (first: --minutes counts from here)


def entry() -> None:
    if sys.argv[1:] in ([], ["--help"], ["-h"]):
        sys.stdout.write(files("bowerbird.cli").joinpath("help.txt").read_text(encoding="utf-8"))
        sys.exit(0)
    from bowerbird.cli.main import main

    sys.exit(main())
