"""The parts of `benchmarks/image.py`. Nothing here is part of the package, and the package imports none of it."""
