"""MONAI datasets of studies, their batches, and augmentation on whole batches."""
