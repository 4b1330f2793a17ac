"""`python -m bowerbird`."""

from bowerbird.cli.main import entry

entry()
