"""Writes and checks a skops body: an estimator as data, in a zip of JSON and numpy's arrays.

skops trusts most types of scikit-learn, scipy and numpy; this module trusts only the types of the estimator in
`train.py`. It checks the whole schema before skops reads it: each entry must have a type of the list, in the form
of that type. It also limits the unpacked size. The check runs no code of the file, and constructing an estimator
computes nothing.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Final, cast

import numpy as np
import skops.io

from classifier.models.estimator import Estimator
from classifier.signals.features import Features

#: The types of a forest, each with the form ("loader") in which skops writes it. To serve other estimators, add
#: the types that `UntrustedTypesError` names, after you have checked that constructing them runs no other code.
TRUSTED: Final = frozenset(
    {
        ("ObjectNode", "sklearn.ensemble._forest.ExtraTreesClassifier"),
        ("ObjectNode", "sklearn.tree._classes.ExtraTreeClassifier"),
        ("TreeNode", "sklearn.tree._tree.Tree"),
        ("NdArrayNode", "numpy.ndarray"),
        ("NdArrayNode", "numpy.float64"),
        ("NdArrayNode", "numpy.int64"),
        ("DictNode", "builtins.dict"),
        ("ListNode", "builtins.list"),
        ("TupleNode", "builtins.tuple"),
        ("TypeNode", "builtins.str"),
        ("JsonNode", "builtins.str"),
    }
)
_TYPES: Final = sorted({name for _, name in TRUSTED})
_SCHEMA: Final = "schema.json"


class SkopsError(Exception):
    """A body cannot be written or loaded. The message continues a sentence that begins with the file's name."""


class UntrustedTypesError(SkopsError):
    """The body has types that are not in the list."""


def proven(estimator: Estimator, test: Features) -> bytes:
    """Return the body for `estimator`; check first that it loads and gives the same probabilities for `test`.

    Raises:
        SkopsError: skops cannot write the estimator, it has types that are not in the list, or the loaded
            estimator gives other probabilities.
    """
    try:
        body: bytes = skops.io.dumps(estimator)
    except Exception as failed:
        # skops passes on every exception of the estimator's methods.
        raise SkopsError(f"cannot be written by skops ({type(failed).__name__}: {failed})") from failed
    loaded = load(body, most=len(body))
    if not np.array_equal(loaded.predict_proba(test), estimator.predict_proba(test)):
        raise SkopsError("gives other probabilities once skops has written and read it")
    return body


def load(body: bytes, *, most: int) -> Estimator:
    """Return the estimator in `body`, if its unpacked size is at most `most` bytes.

    Raises:
        UntrustedTypesError: the body has types that are not in the list; the message names them.
        SkopsError: the body is larger, or is not a skops body.
    """
    _check_types(_schema(body, most=most))
    try:
        return cast("Estimator", skops.io.loads(body, trusted=_TYPES))
    except Exception as failed:
        # Constructing runs code of the types, which may raise anything.
        raise _damaged(failed) from failed


def _schema(body: bytes, *, most: int) -> object:
    try:
        with zipfile.ZipFile(BytesIO(body)) as members:
            _check_size(members, most)
            return json.loads(members.read(_SCHEMA))
    except SkopsError:
        raise
    except Exception as malformed:
        # zipfile raises its own errors, those of four kinds of compression, and those of JSON.
        raise _damaged(malformed) from malformed


def _check_size(members: zipfile.ZipFile, most: int) -> None:
    # At most the declared size of a member can be read from it.
    if (size := sum(member.file_size for member in members.infolist())) > most:
        raise SkopsError(
            f"unpacks to {size:,} bytes, and may to {most:,}: train a smaller one, or raise max_model_bytes"
        )


def _damaged(failed: Exception) -> SkopsError:
    return SkopsError(
        f"does not load as skops ({type(failed).__name__}: {failed}): "
        "make it again with the libraries installed here, `classifier train --skops`"
    )


def _check_types(schema: object) -> None:
    if untrusted := sorted(set(_entries(schema)) - TRUSTED):
        names = ", ".join(f"{name} (as {loader})" for loader, name in untrusted)
        raise UntrustedTypesError(f"holds types that are not on the list of trusted ones: {names}")


def _entries(schema: object) -> Iterator[tuple[str, str]]:
    """Return each type in the schema, and the form in which it is loaded."""
    rest = [schema]
    while rest:
        entry = rest.pop()
        if isinstance(entry, list):
            rest += entry
        elif isinstance(entry, dict):
            rest += entry.values()
            if {"__loader__", "__module__", "__class__"} & entry.keys():
                yield str(entry.get("__loader__")), f"{entry.get('__module__')}.{entry.get('__class__')}"
