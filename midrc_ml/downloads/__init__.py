"""Fetching studies: from a Gen3 portal (MIDRC) and from the Imaging Data Commons."""
