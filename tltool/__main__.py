"""``python -m tltool`` is the command ``tltool``."""

from tltool.cli.main import run

run()
