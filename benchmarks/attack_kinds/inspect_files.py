"""Inspect the files of a folder as the audit does, and print the results: python -m … FOLDER."""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
MAX_SECONDS = 15.0  # CPU time per file, with up to 100 megapixels


def main() -> None:
    """Print what the audit finds about each file, and the CPU time."""
    from tltool.data.audit.inspect_file import image_decoder, inspect_file
    from tltool.data.catalog import Item
    from tltool.data.decoding.image_errors import BadFileError

    decode = image_decoder()
    for path in sorted(Path(sys.argv[1]).iterdir()):
        began = time.process_time()
        try:
            seen = inspect_file(Item(path, "a"), max_pixels=100_000_000, decode=decode)
            found = f"ok {seen.decoded.width} x {seen.decoded.height}"
        except BadFileError as bad:
            found = f"bad: {bad.kind}, {bad.detail}"
        seconds = time.process_time() - began
        slow = " SLOW" if seconds > MAX_SECONDS else ""
        print(f"RESULT {path.name} {seconds:.1f} s{slow} {found}", flush=True)


if __name__ == "__main__":
    main()
