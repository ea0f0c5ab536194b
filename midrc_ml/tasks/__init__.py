"""Tasks: what is predicted, from whom, and how a label is found; labels are 1, 0 (or a number) or missing."""
