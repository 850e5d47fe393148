"""Files that are whole, summed, read back safely, and written by one process at a time."""

from jaxrec.files.flock import InUseError
from jaxrec.files.kept import read_kept
from jaxrec.files.lock import locked_folder
from jaxrec.files.sums import check_sums, kept_file, kept_folder, write_kept, write_sums
from jaxrec.files.whole import PART, whole_file, whole_folder, write_whole

__all__ = [
    "PART",
    "InUseError",
    "check_sums",
    "kept_file",
    "kept_folder",
    "locked_folder",
    "read_kept",
    "whole_file",
    "whole_folder",
    "write_kept",
    "write_sums",
    "write_whole",
]
