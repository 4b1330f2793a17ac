"""Damaged files for every reader, and what becomes of each."""
