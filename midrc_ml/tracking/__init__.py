"""Tracking of runs. The only folder that imports mlflow, and only when a tracker starts."""
