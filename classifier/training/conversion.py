"""Converts a fitted estimator to ONNX, and proves that both give the same labels.

A conversion is accepted only after both have classified every test signal with the same labels. Probabilities may
differ a little, because ONNX Runtime adds up a forest's votes in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import skl2onnx
from skl2onnx.common.data_types import FloatTensorType

from classifier.models.estimator import Estimator, Probabilities
from classifier.models.onnx_file import INPUT, OnnxEstimator
from classifier.signals.features import Features

# ONNX operator set 15, of 2021. Every ONNX Runtime that works with numpy 2 supports it.
_OPERATOR_SET: Final = 15


class ConversionError(Exception):
    """The estimator cannot be converted reliably. The message has the reason."""


@dataclass(frozen=True, slots=True)
class Converted:
    """An ONNX body, and the largest difference between its probabilities and the estimator's."""

    body: bytes
    difference: float


def convert(estimator: Estimator, test: Features) -> Converted:
    """Convert `estimator`, and compare both on all rows of `test`, which are features of real signals.

    Raises:
        ConversionError: the estimator cannot be converted, or at least one label differs.
    """
    body = _body(estimator, test.shape[1])
    wanted, got = estimator.predict_proba(test), _probabilities(body, test)
    if got.shape != wanted.shape:
        raise ConversionError(f"its ONNX gives {got.shape[-1]} probabilities, not {wanted.shape[-1]}")
    difference = float(np.abs(got - wanted).max())
    if differing := int((got.argmax(axis=1) != wanted.argmax(axis=1)).sum()):
        raise ConversionError(
            f"its ONNX gives {differing} of {len(test)} test signals another label; "
            f"probabilities differ by up to {difference:.1e}"
        )
    return Converted(body, difference)


def _body(estimator: Estimator, columns: int) -> bytes:
    types = [(INPUT, FloatTensorType([None, columns]))]
    # Without "zipmap", the output is a matrix of probabilities instead of a list of dicts.
    options: dict[str, Any] = {"zipmap": False}
    try:
        graph = skl2onnx.to_onnx(estimator, initial_types=types, options=options, target_opset=_OPERATOR_SET)
        body: bytes = graph.SerializeToString()
    except Exception as failed:
        # skl2onnx passes on any exception of its converters, with advice on many lines.
        raise ConversionError(
            f"skl2onnx cannot convert {type(estimator).__name__} ({_first_line(failed)})"
        ) from failed
    return body


def _probabilities(body: bytes, test: Features) -> Probabilities:
    try:
        return OnnxEstimator(body).predict_proba(test)
    except Exception as failed:
        raise ConversionError(f"ONNX Runtime cannot run its ONNX ({_first_line(failed)})") from failed


def _first_line(failed: Exception) -> str:
    return next(iter(str(failed).splitlines()), type(failed).__name__)
