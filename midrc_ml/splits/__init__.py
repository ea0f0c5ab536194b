"""Splits: always by patient, written down as a manifest whose SHA-256 every result carries."""
