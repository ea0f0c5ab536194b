"""Predictions of any model, from any framework, read from files and checked against the task."""
