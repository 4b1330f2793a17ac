"""The parts of `benchmarks/serve.py`. Nothing here is part of the package, and the package imports none of it."""
