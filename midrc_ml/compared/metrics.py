"""Which metrics can compare two models."""

from collections.abc import Mapping

from midrc_ml.errors import InputError
from midrc_ml.evaluation.calibration import is_distance
from midrc_ml.evaluation.evaluate import with_threshold
from midrc_ml.evaluation.metrics import is_better_low
from midrc_ml.evaluation.scorers import Metric
from midrc_ml.evaluation.weighted import Array

_COMPLEMENTS = ("underdiagnosis_rate", "overdiagnosis_rate")  # 1 - sensitivity, 1 - specificity: asked once


def check_metrics(metrics: Mapping[str, Metric], y_true: Array, y_score: Array) -> None:
    """Refuse a function that is no metric, before it is called thousands of times.

    Raises:
        InputError: it gives no number for these studies, or fails.
    """
    for name, metric in metrics.items():
        try:
            float(with_threshold(metric, 0.5)(y_true, y_score))
        except InputError:
            raise
        except ValueError:  # it refuses these studies; its row will say so
            continue
        except Exception as error:
            raise InputError(
                f"--metrics {name}: called with (y_true, y_score) it gives no number ({type(error).__name__}); a "
                f"metric is a function of two arrays, as sklearn.metrics.average_precision_score"
            ) from error


def has_better(name: str, metric: Metric) -> bool:
    """Whether one model can be better in it, with an interval that tells by how much, and it is not asked already."""
    return is_better_low(name) is not None and not is_distance(metric) and name not in _COMPLEMENTS
