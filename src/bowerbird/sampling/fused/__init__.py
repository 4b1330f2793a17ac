"""The decode loop compiled: network, n-grams and sampling for many tokens a call. Needs numba."""
