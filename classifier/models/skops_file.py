"""A skops body: an estimator as data, a zip of JSON and numpy's arrays, made and loaded by our own list of types.

skops trusts by default whatever scikit-learn, scipy and numpy have; we trust what the estimator of `train.py` is
made of, and nothing else. The whole schema is looked at before skops sees any of it: each entry must be a type of
ours, in the form that this type has. The sizes that count are those that the members unpack to. Nothing is run to
find out, and constructing an estimator computes nothing.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Final, cast

import numpy as np
import skops.io

from classifier.models.estimators import Estimator
from classifier.signals.features import Features

#: What a forest is made of, each in the form ("loader") that skops writes it in. To serve other estimators, add
#: what `UntrustedTypesError` names for them, once you know that constructing it runs nothing but itself.
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
    """A body that is not loaded. The message goes on after the file's name, and names the remedy."""


class UntrustedTypesError(SkopsError):
    """It holds types that are not on our list."""


def proven(estimator: Estimator, test: Features) -> bytes:
    """The body for `estimator`, which was loaded again and gives all rows of `test` the same probabilities.

    Raises:
        SkopsError: skops cannot write it, it is made of types that would not be loaded, or it has become another.
    """
    try:
        body: bytes = skops.io.dumps(estimator)
    except Exception as failed:
        # skops raises what the estimator's own methods raise.
        raise SkopsError(f"cannot be written by skops ({type(failed).__name__}: {failed})") from failed
    loaded = load(body, most=len(body))
    if not np.array_equal(loaded.predict_proba(test), estimator.predict_proba(test)):
        raise SkopsError("gives other probabilities once skops has written and read it")
    return body


def load(body: bytes, *, most: int) -> Estimator:
    """The estimator in `body`, which unpacked has `most` bytes at most.

    Raises:
        UntrustedTypesError: it holds types that are not on our list; with their names.
        SkopsError: it is larger, or no skops body.
    """
    _check_types(_schema(body, most=most))
    try:
        return cast("Estimator", skops.io.loads(body, trusted=_TYPES))
    except Exception as failed:
        # Constructing calls what the types do, which may raise anything.
        raise _damaged(failed) from failed


def _schema(body: bytes, *, most: int) -> object:
    try:
        with zipfile.ZipFile(BytesIO(body)) as members:
            _check_size(members, most)
            return json.loads(members.read(_SCHEMA))
    except SkopsError:
        raise
    except Exception as malformed:
        # zipfile raises its own errors, those of four ways of compression, and what JSON raises.
        raise _damaged(malformed) from malformed


def _check_size(members: zipfile.ZipFile, most: int) -> None:
    # What a member claims is what can be read of it, at most.
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
    """Each type that the schema names anywhere, and the form that it is loaded in."""
    rest = [schema]
    while rest:
        entry = rest.pop()
        if isinstance(entry, list):
            rest += entry
        elif isinstance(entry, dict):
            rest += entry.values()
            if {"__loader__", "__module__", "__class__"} & entry.keys():
                yield str(entry.get("__loader__")), f"{entry.get('__module__')}.{entry.get('__class__')}"
