"""Privacy: DICOM headers, what leaves a run's folder, and counts that are too small to be told."""
