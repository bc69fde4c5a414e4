"""Warnings of libraries about odd files are not printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image


def test_a_damaged_exif_block_is_no_warning(tmp_path: Path) -> None:
    path = tmp_path / "odd.jpg"
    cut = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01"  # five entries announced, none whole
    Image.new("RGB", (80, 80), "red").save(path, exif=cut)
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from tltool.data.decoding.header import read_header\n"
        "from tltool.data.duplicates.image_match import load_thumbnail\n"
        "path = Path(sys.argv[1])\nassert load_thumbnail(path) is not None\n"
        "with path.open('rb') as file: print(read_header(file, 10**6).orientation)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1\n", b"")
