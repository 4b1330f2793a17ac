"""What becomes of a model once it is served: events, drift, feedback, and the way back to a better version."""
