"""Segment the training clips of a tracker or refiner once and keep the result; see ``--help``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed
    from dense.projects.dvis.caching import main

    sys.exit(main())
