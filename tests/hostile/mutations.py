"""Damage to files: bytes and pieces cut out, put in, repeated and exchanged, as a seed says."""

import os
import random

SEED = int(os.environ.get("JAXREC_SEED", "0"))
"""Of every mutation; `JAXREC_SEED=7 make test` tries others. Failures name it."""
ODD = [
    *(
        b'"',
        b'""',
        b",",
        b";",
        b"\t",
        b"|",
        b"::",
        b":",
        b"\n",
        b"\r",
        b"\r\n",
        b"\0",
        b" ",
        b"#",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
    ),
    *(
        b"NaN",
        b"null",
        b"true",
        b"1e300",
        b"-",
        b"1e39",
        b"1600000430000",
        b"20200913",
        b"2020-09-13",
        b"99999999999999999999",
    ),
    *(
        "\xa0".encode(),
        "\u2028".encode(),
        "\x85".encode(),
        b"\xff",
        b"\xed\xa0\x80",
        b"\x0b",
        b"\\ud800",
        b"\\u0000",
        b"\xef\xbb\xbf",
    ),
]


def mutated(data: bytes, draw: random.Random) -> bytes:
    """The bytes with one to four changes."""
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        start = draw.randrange(len(data) + 1)
        end = min(len(data), start + draw.choice((0, 0, 1, 1, 2, 5, 40)))
        piece = data[start:end]
        data = (
            data[:start] + draw.choice((b"", draw.choice(ODD), draw.choice(ODD), piece * 2, piece[::-1])) + data[end:]
        )
    return data or b"\n"


def flipped(data: bytes, draw: random.Random) -> bytes:
    """The bytes with a bit or a byte changed, or the end cut off."""
    if draw.random() < 0.1:
        return data[: draw.randrange(1, len(data))]
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2))):
        place = draw.randrange(len(changed))
        changed[place] = changed[place] ^ (1 << draw.randrange(8)) if draw.random() < 0.5 else draw.randrange(256)
    return bytes(changed)
