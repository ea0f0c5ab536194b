"""Readers: from a folder of files to the five tables. Selection: from the tables to the studies of a task."""
