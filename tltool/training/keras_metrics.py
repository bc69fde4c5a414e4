"""Metrics of Keras, computed on the validation images after each epoch and at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tltool.errors import UsageError, did_you_mean
from tltool.features.image_source import weighted_one_hot
from tltool.training.keras_losses import takes_logits

_TINY = 1e-12
_NAMES = (
    "categorical_accuracy",
    "f1_score",
    "auc",
    "precision",
    "recall",
    "top_k_categorical_accuracy",
)
_ACCURACY = ("accuracy", "acc")


class KerasMetrics:
    """Metrics by name; each call starts them anew.

    Args:
        metrics: of Keras, of different names.
    """

    def __init__(self, metrics: Sequence[keras.metrics.Metric]) -> None:
        self._metrics = metrics

    def __call__(self, labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
        """Return the values by name; a metric of several values gives a list or a dictionary.

        Args:
            labels: class numbers, int [N].
            probabilities: float32 [N, C].
        """
        one_hot = weighted_one_hot(labels, 1.0, probabilities.shape[1])
        values = {}
        for metric in self._metrics:
            metric.reset_state()
            targets = labels if _takes_numbers(metric) else one_hot
            outputs = np.log(probabilities + _TINY) if takes_logits(metric) else probabilities
            metric.update_state(targets, outputs)
            values[metric.name] = _plain(metric.result())
        return values

    def of_epoch(self, labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
        """Return the values as columns of history.csv: ``val_<name>``, one number each."""
        columns: dict[str, float] = {}
        for name, value in self(labels, probabilities).items():
            columns |= _columns(f"val_{name}", value)
        return columns


def keras_metrics(metrics: Sequence[Any]) -> KerasMetrics | None:
    """Return metrics given by name, as objects or as functions; None without any.

    Raises:
        UsageError: there is no such metric, or two have one name.
    """
    if isinstance(metrics, str):
        raise UsageError("metrics= is a single name", hint="give a list, such as ['f1_score']")
    found = [_metric(one) for one in metrics]
    names = [metric.name for metric in found]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(
            f"two metrics have the name '{twice[0]}'", hint="give one of them another name="
        )
    return KerasMetrics(found) if found else None


def _metric(metric: Any) -> keras.metrics.Metric:
    found = _by_name(metric) if isinstance(metric, str) else metric
    if isinstance(found, type):
        found = found()
    if isinstance(found, keras.metrics.Metric):
        return found
    if callable(found):
        name = getattr(found, "__name__", type(found).__name__)
        return keras.metrics.MeanMetricWrapper(found, name=name)
    raise UsageError(
        f"metrics= has an entry of type {type(metric).__name__}",
        hint="give names of Keras, keras.metrics.Metric objects, or functions",
    )


def _by_name(name: str) -> Any:
    if name in _ACCURACY:
        return keras.metrics.CategoricalAccuracy(name=name)
    try:
        found = keras.metrics.get(name)
    except ValueError:
        raise UsageError(
            f"Keras has no metric '{name}'.{did_you_mean(name, _NAMES)}",
            hint=f"such as {', '.join(_NAMES)}",
        ) from None
    if not isinstance(found, keras.metrics.Metric):
        return found
    # Keras numbers the names of one process: auc, auc_1
    return type(found).from_config({**found.get_config(), "name": name})


def _takes_numbers(metric: keras.metrics.Metric) -> bool:
    function = getattr(metric, "_fn", None)
    names = (type(metric).__name__, getattr(function, "__name__", ""))
    return any(name.lower().startswith("sparse") for name in names)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    array = np.asarray(keras.ops.convert_to_numpy(value), np.float64)
    return array.tolist()  # a number for an array without axes


def _columns(name: str, value: Any) -> dict[str, float]:
    if isinstance(value, Mapping):
        pairs = [(str(key), one) for key, one in value.items()]
    elif isinstance(value, list):
        pairs = [(str(number), one) for number, one in enumerate(value)]
    else:
        return {name: value}
    columns: dict[str, float] = {}
    for key, one in pairs:
        columns |= _columns(f"{name}_{key}", one)
    return columns
