"""One file per job: the story of that job on one screen. Also the public Python API."""
