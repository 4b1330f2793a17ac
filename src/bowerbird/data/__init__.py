"""A folder of files becomes a dataset: gather, clean, split, encode."""
