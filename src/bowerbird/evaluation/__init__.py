"""How good a model is: scores with sample sizes and intervals, baselines beside them, and the report."""
