"""Divide a video annotation file into a training and a held-out part; see ``--help``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed
    from dense.data.split_command import main

    sys.exit(main())
