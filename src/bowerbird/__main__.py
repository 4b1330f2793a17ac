"""`python -m bowerbird`."""

from bowerbird.cli.entry import entry

entry()
