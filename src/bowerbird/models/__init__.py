"""Networks only: no training, no files, no flags."""
