"""A job's body as it was sent, made UTF-8 JSON text: gzip is unpacked within the size limit, a BOM is dropped.

Any other encoding is refused by its name. Pure. Copies of a message keep the bytes and properties that came, so
that a retry, a dead letter and a replay are read the same way again.
"""

from __future__ import annotations

import codecs
import re
import zlib

#: The bytes with which texts begin that are not UTF-8, the longer mark first.
MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
#: `{` without a mark, as the first character of an object.
BEGINNINGS = ((b"{\0\0\0", "UTF-32"), (b"\0\0\0{", "UTF-32"), (b"{\0", "UTF-16"), (b"\0{", "UTF-16"))
#: What compressors begin with, for a body whose property does not say so.
MAGIC = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
#: Names that mean nothing was done to the text. Producers of Celery's and kombu's write the charset here.
PLAIN = ("", "identity", "utf-8", "utf8", "utf-8-sig", "us-ascii", "ascii", "binary", "8bit")
GZIP = ("gzip", "x-gzip")
#: zlib's number for a gzip member with its header and checksum.
GZIP_MEMBER = 16 + zlib.MAX_WBITS
#: Each costs a copy of all that follows it, and an empty one has 20 bytes: 100,000 in 2 MB took 1.7 s of CPU.
MAX_MEMBERS = 100
CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)
#: Of a dead letter's body, when somebody looks at it: the default limit of a job's.
MOST_SHOWN_BYTES = 4 * 1024 * 1024
#: Of a dead letter's body, when somebody asks for nothing else: as much as a gzip of 4 MiB is likely to hold.
MOST_UNPACKED_BYTES = 64 * 1024 * 1024
REMEDY = "send JSON as UTF-8, plain or with content_encoding gzip"


def decoded(body: bytes, max_bytes: int, encoding: str | None, content_type: str | None) -> bytes | str:
    """Decode a body; a text says why that cannot be done. `max_bytes` bounds what comes out, too."""
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
    """Name the encoding of a body that is no JSON, where its first bytes tell it."""
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
    """Unpack all members of a gzip body, never more than the limit: 10 MB of zeros come as 10 kB."""
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
