"""From a trained network to new content: many requests stepped together."""
