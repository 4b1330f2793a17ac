"""Many runs over one dataset, to find the settings that suit it: a grid or a search, resumable."""
