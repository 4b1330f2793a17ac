"""Answers requests with loaded models: an engine that knows no HTTP, and an app that speaks OpenAI's."""
