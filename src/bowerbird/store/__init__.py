"""Models at rest: bundles, and the registry of named versions."""
