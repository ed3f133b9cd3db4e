"""The dialect of a CSV: encoding, delimiter, quotes, decimal mark; detected unless given."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import cast

from quantis.errors import InvalidInput
from quantis.reading.batches import Note
from quantis.reading.limits import MIB
from quantis.reading.sources import Source
from quantis.types.reading import ReadOptions

_HEAD_BYTES = 65_536  # bytes that decide delimiter, quotes and decimal mark
_DELIMITERS = ",;\t|"
_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True)
class Dialect:
    encoding: str
    delimiter: str
    quote: str
    decimal: str
    lines_in_cells: bool
    notes: tuple[Note, ...] = ()


def detect_dialect(source: Source, name: str, options: ReadOptions) -> Dialect:
    """Return the given options and detect the others; assumptions become notes."""
    head = source.head(_HEAD_BYTES)
    notes: list[Note] = []
    encoding: str = options.encoding or _detect_encoding(source, head)
    if options.encoding is None and encoding == "cp1252":
        notes.append(Note("D008", "the text is not UTF-8 and was read as cp1252 (Western European)"))
    text = _decode_head(head, encoding, name)
    quote: str = options.quote if options.quote is not None else _detect_quote(text)
    delimiter: str = options.delimiter or _detect_delimiter(text, quote)
    decimal, unclear = (options.decimal, "") if options.decimal else _detect_decimal(text, delimiter)
    if unclear:
        notes.append(Note("D036", f"{unclear!r} may be a decimal or a thousand"))
    return Dialect(encoding, delimiter, quote, decimal, bool(quote) and quote in text, tuple(notes))


def _detect_encoding(source: Source, head: bytes) -> str:
    for mark, encoding in _BOMS.items():
        if head.startswith(mark):
            return encoding
    zeros = head[:1000].count(0)
    if zeros > len(head[:1000]) // 4:
        return "utf-16-le" if head[1:2] == b"\0" else "utf-16-be"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with source.open() as file:
            while chunk := file.read(MIB):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _decode_head(head: bytes, encoding: str, name: str) -> str:
    decoder = codecs.getincrementaldecoder("utf-8-sig" if encoding == "utf-8" else encoding)("replace")
    text = decoder.decode(head)
    if text[:4000].count("\ufffd") + text[:4000].count("\0") > 20:
        raise InvalidInput(f"{name} is not text in {encoding}; say its encoding, or send Parquet")
    return text


def _detect_quote(text: str) -> str:
    """Return the character that opens and closes cells; the double one unless single ones do."""
    single, double = (
        len(re.findall(rf"(?:^|[,;\t|]){mark}[^{mark}\n]*{mark}(?=[,;\t|\r\n]|$)", text[:8192], re.MULTILINE))
        for mark in ("'", '"')
    )
    return "'" if single > double else '"'


def _detect_delimiter(text: str, quote: str) -> str:
    """Return the delimiter that the first lines have equally often, and most often."""
    unquoted = re.sub(rf"{quote}[^{quote}]*{quote}", "", text) if quote else text
    lines = [line for line in unquoted.splitlines()[:20] if line.strip(" \r\n")]
    whole = lines[:-1] if len(lines) > 2 and len(text) >= _HEAD_BYTES // 4 else lines

    def score(mark: str) -> tuple[bool, int]:
        counts = [line.count(mark) for line in whole]
        return (bool(counts) and counts[0] > 0 and len(set(counts)) == 1, counts[0] if counts else 0)

    return max(_DELIMITERS, key=score)


def _detect_decimal(text: str, delimiter: str) -> tuple[str, str]:
    """(decimal mark, a number of unclear meaning or ""). A comma can be one only beside other delimiters."""
    if delimiter == ",":
        return ".", ""
    mark = re.escape(delimiter)
    cell = rf"(?:^|{mark})[\"']?([+-]?\d+,\d+)[\"']?(?=$|\r|{mark})"
    commas = cast("list[str]", re.findall(cell, text, re.MULTILINE))
    if not commas:
        return ".", ""
    grouped = [number for number in commas if re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", number)]
    if len(grouped) < len(commas):
        return ",", ""
    dotted = re.search(rf"(?:^|{mark})[\"']?[+-]?[\d,]*\d\.\d+[\"']?(?=$|\r|{mark})", text, re.MULTILINE)
    return (".", "") if dotted else (",", grouped[0])
