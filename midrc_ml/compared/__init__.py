"""What is compared: the runs and files that are meant, the studies that they share, and which of them are one model."""
