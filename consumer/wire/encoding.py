"""Decodes the body of a job to UTF-8 JSON text: unpacks gzip within the size limit, and drops a byte order mark.

Every other encoding is refused by its name. Pure. Copies of a message keep the original bytes and properties, so
that a retry, a dead letter and a replay decode in the same way.
"""

from __future__ import annotations

import codecs
import re
import zlib

#: The first bytes of texts in other encodings than UTF-8, the longer mark first.
MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
#: `{` in other encodings, as the first character of an object without a mark.
BEGINNINGS = ((b"{\0\0\0", "UTF-32"), (b"\0\0\0{", "UTF-32"), (b"{\0", "UTF-16"), (b"\0{", "UTF-16"))
#: The first bytes of compressed data, for a body without `content_encoding`.
MAGIC = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
#: Values of `content_encoding` for plain text. Producers of Celery and kombu put the charset there.
PLAIN = ("", "identity", "utf-8", "utf8", "utf-8-sig", "us-ascii", "ascii", "binary", "8bit")
GZIP = ("gzip", "x-gzip")
#: zlib's number for a gzip member with its header and checksum.
GZIP_MEMBER = 16 + zlib.MAX_WBITS
#: Each member costs a copy of the rest, and an empty one has 20 bytes: 100,000 in 2 MB took 1.7 s of CPU.
MAX_MEMBERS = 100
CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)
#: The most bytes that a command unpacks to show a dead letter: the default limit of a job's body.
MOST_SHOWN_BYTES = 4 * 1024 * 1024
#: The most bytes that a command unpacks for `--body`: the likely content of 4 MiB of gzip.
MOST_UNPACKED_BYTES = 64 * 1024 * 1024
REMEDY = "send JSON as UTF-8, plain or with content_encoding gzip"


def decoded(body: bytes, max_bytes: int, encoding: str | None, content_type: str | None) -> bytes | str:
    """Return the decoded body as bytes, or as text the reason why it cannot be decoded.

    `max_bytes` limits the unpacked size.
    """
    name = (encoding or "").strip().lower()
    if name in GZIP:
        unpacked = _unpacked(body, max_bytes)
        if isinstance(unpacked, str):
            return unpacked
        body = unpacked
    elif name not in PLAIN:
        return f"content_encoding is {name[:40]!r}, which is not decoded; {REMEDY}"
    charset = CHARSET.search(content_type or "")
    if charset and charset[1].lower() not in PLAIN:
        return f"content_type names the charset {charset[1][:40]!r}; {REMEDY}"
    return body.removeprefix(codecs.BOM_UTF8)


def foreign(body: bytes) -> str | None:
    """Explain why a body is not JSON: it is empty, or in another encoding. None if neither is the case."""
    if not body.strip():
        return "the body is empty; send {...}"
    for first, name in (*MARKS, *BEGINNINGS):
        if body.startswith(first):
            return f"the body is {name}; {REMEDY}"
    for first, name in MAGIC:
        if body.startswith(first):
            return f"the body is {name} data without a content_encoding that says so; {REMEDY}"
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return f"the body is not JSON: it is not UTF-8, byte {error.start} is 0x{body[error.start]:02x}; {REMEDY}"
    return None


def _unpacked(body: bytes, max_bytes: int) -> bytes | str:
    """Unpack all members of a gzip body, and stop at the limit: 10 kB can unpack to 10 MB of zeros."""
    found = bytearray()
    rest = body
    for _ in range(MAX_MEMBERS):
        member = zlib.decompressobj(GZIP_MEMBER)
        try:
            found += member.decompress(rest, max_bytes + 1 - len(found))
        except zlib.error as error:
            where = "is followed by bytes that are not gzip" if found else "is not gzip"
            return f"content_encoding is gzip, but the body {where} ({error}); {REMEDY}"
        if len(found) > max_bytes:
            return f"the body has more than {max_bytes} bytes when unpacked, the limit (max_body_bytes)"
        if not member.eof:
            return f"content_encoding is gzip, but the body is cut off; {REMEDY}"
        if not (rest := member.unused_data):
            return bytes(found)
    return f"content_encoding is gzip, but the body has more than {MAX_MEMBERS} members; {REMEDY}"
