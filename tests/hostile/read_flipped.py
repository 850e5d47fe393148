"""Reads Parquet files with flipped bits in a process of its own, as damage once ended the process.

Prints a line a case before it is read, and "done" with the number of files that could be read.
"""

import datetime
import io
import pathlib
import random
import sys
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq

from jaxrec.data.readers.registry import read
from jaxrec.types import DataError
from tests.hostile.mutations import flipped


def files() -> list[bytes]:
    """Parquet files of several types, encodings and compressions."""
    n = 40
    moments = [datetime.datetime(2020, 9, 13) + datetime.timedelta(seconds=61 * i) for i in range(n)]
    texts = pa.array([f"u{i % 7}" for i in range(n)])
    tables = [
        pa.table(
            {"user": texts, "item": [f"i{i % 11}" for i in range(n)], "time": [1_600_000_430 + i for i in range(n)]}
        ),
        pa.table({"user": texts.dictionary_encode(), "item": [i % 11 for i in range(n)], "time": moments}),
        pa.table({"user": [float(i % 7) for i in range(n)], "item": texts, "rating": [float(i % 5) for i in range(n)]}),
    ]
    written = []
    for table in tables:
        for options in (
            {"compression": "none"},
            {"compression": "zstd", "write_page_checksum": True},
            {"compression": "snappy", "use_dictionary": False, "row_group_size": 13, "data_page_version": "2.0"},
            {"compression": "gzip", "version": "1.0"},
        ):
            file = io.BytesIO()
            pq.write_table(table, file, **options)
            written.append(file.getvalue())
    return written


def main(seed: str, cases: int) -> None:
    """Reads `cases` damaged files; what is neither events nor a DataError escapes."""
    draw, n_read = random.Random(seed), 0
    originals = files()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "events.parquet"
        for case in range(cases):
            data = flipped(originals[case % len(originals)], draw)
            path.write_bytes(data)
            print(f"case {case}: {data.hex()}", flush=True)
            try:
                frame = read(path, "parquet").frame
            except DataError as error:
                message = str(error)
            else:
                message = ""
            if message:
                assert message.startswith(str(path)), message
                assert message.isprintable(), message
                assert len(message) < 1500, message
                continue
            n_read += 1
            for name in ("user", "item"):
                names = frame[name].to_list()
                assert all(text and text == text.strip() and "\0" not in text for text in names)
            assert frame.null_count().sum_horizontal().item() == 0
    print(f"done {n_read}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
