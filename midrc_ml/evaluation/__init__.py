"""From a predictions table to metrics with intervals, overall and by group. Needs neither torch nor monai."""
