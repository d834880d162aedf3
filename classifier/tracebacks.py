"""Formats tracebacks of a user's code, without the frames of this service and of the import before it.

Whoever reads one looks for a line of their own, and the import of a module has twelve frames before the first of
them.
Standard library only: user code is running, or is about to.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Final

_HERE: Final = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib takes 5 ms to import
#: What calls user code: of this package only the child's side of the contract, because a user may call the rest.
_CALLERS: Final = (
    os.path.join(_HERE, "child", ""),  # noqa: PTH118 - as above
    *(os.path.join(_HERE, name) for name in ("contract.py", "__main__.py")),  # noqa: PTH118 - as above
    os.path.join(os.path.dirname(_HERE), "rabbitmq_classifier.py"),  # noqa: PTH118, PTH120 - as above
    os.path.join(os.path.dirname(os.__file__), "importlib", ""),  # noqa: PTH118, PTH120 - as above
    "<frozen ",
)
_HEAD: Final = "Traceback (most recent call last):\n"


def of_user(raised: BaseException) -> str:
    """Format the traceback from the first frame that is not ours.

    If all frames are ours, the module has a wrong syntax or is missing, and the message says which; any other
    exception is a bug of ours, and keeps all its frames.
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
