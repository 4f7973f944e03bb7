"""Train a small tokenizer on captions; see ``--help``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed
    from dense.projects.dito.text.command import main

    sys.exit(main())
