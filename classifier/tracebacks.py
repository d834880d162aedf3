"""Formats tracebacks of user code, without the frames of this service and of Python's import before it.

The author of a classifier searches for a line of their own code, and an import puts twelve frames before it.
Standard library only, because it runs in processes of user code.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Final

_HERE: Final = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib takes 5 ms to import
#: The files that call user code; their frames are omitted. The rest of this package is code that users may call.
_CALLERS: Final = (
    os.path.join(_HERE, "child", ""),  # noqa: PTH118 - as above
    *(os.path.join(_HERE, name) for name in ("contract.py", "__main__.py")),  # noqa: PTH118 - as above
    os.path.join(os.path.dirname(_HERE), "rabbitmq_classifier.py"),  # noqa: PTH118, PTH120 - as above
    os.path.join(os.path.dirname(os.__file__), "importlib", ""),  # noqa: PTH118, PTH120 - as above
    "<frozen ",
)
_HEAD: Final = "Traceback (most recent call last):\n"


def of_user(raised: BaseException) -> str:
    """Format the traceback from the first frame of user code.

    An ImportError or SyntaxError without such a frame has no frames in the text: its message names the fault. Any
    other exception without such a frame is a bug in this service, and keeps all frames.
    """
    import traceback  # noqa: PLC0415 - only failures need this import

    frame = raised.__traceback__
    while frame is not None and _is_ours(frame):
        frame = frame.tb_next
    if frame is None and isinstance(raised, ImportError | SyntaxError):
        return _HEAD + "".join(traceback.format_exception_only(raised))
    return "".join(traceback.format_exception(type(raised), raised, frame or raised.__traceback__))


def _is_ours(frame: TracebackType) -> bool:
    return frame.tb_frame.f_code.co_filename.startswith(_CALLERS)
