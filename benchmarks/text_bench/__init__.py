"""The parts of `benchmarks/text.py`. Nothing here is part of the package, and the package imports none of it."""
