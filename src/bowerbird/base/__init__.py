"""What every part may use and nothing here uses: errors, configs, shelves, digests, files, device."""
