"""Runs an ONNX body, a graph of operations, with ONNX Runtime. Imports it only for a model of this kind.

A session has no threads, so a process may load models and fork afterwards.
"""

from __future__ import annotations

import os
from typing import Any, Final

import numpy as np

from classifier.models.estimator import Probabilities
from classifier.signals.features import Features

#: Names inside an ONNX body: its input, shape (rows, features), and its output, shape (rows, classes).
INPUT: Final = "features"
OUTPUT: Final = "probabilities"
_ERRORS_ONLY: Final = 3  # the level of ONNX Runtime's log, which goes to stderr


class OnnxEstimator:
    """An ONNX body in ONNX Runtime, with the interface of a scikit-learn classifier."""

    def __init__(self, body: bytes) -> None:
        """Load the body.

        Raises ImportError if ONNX Runtime is missing, and ONNX Runtime's own errors if the body cannot be used.
        """
        runtime = onnx_runtime()
        options = runtime.SessionOptions()
        # Threads would not survive a fork, and a pool of processes has one for each processor already.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _ERRORS_ONLY
        self._session = runtime.InferenceSession(body, options, providers=["CPUExecutionProvider"])

    def predict_proba(self, features: Features, /) -> Probabilities:
        (probabilities,) = self._session.run([OUTPUT], {INPUT: features})
        return np.asarray(probabilities, dtype=np.float64)


def onnx_runtime() -> Any:  # noqa: ANN401 - it ships no types
    """Return ONNX Runtime, without its telemetry and log.

    Raises:
        ImportError: it is not installed.
    """
    # From 1.29 on, a thread that starts with the import reports the use of ONNX Runtime to its makers.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415 - optional, and only where a model is ONNX

    return onnxruntime
