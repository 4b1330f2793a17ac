"""Runs: a training in a folder of its own, carried on step by step, resumable to the bit."""
