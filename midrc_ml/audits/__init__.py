"""Checks on how a number could be wrong, each an entry of `audit.json`."""
