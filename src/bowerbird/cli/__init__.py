"""The command line: parse, one call of the lifecycle, show. `main.entry` is what the script calls."""
