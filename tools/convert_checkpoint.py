"""Convert a checkpoint of others to our names, or back: see --help."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed
    from dense.__main__ import run
    from dense.checkpoint.command import main

    sys.exit(run("convert_checkpoint.py", main, sys.argv[1:]))
