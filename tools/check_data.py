"""Check whole data sets: every fault with record and position, figures, a contact sheet; see ``--help``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed
    from dense.data.checking.command import main

    sys.exit(main())
