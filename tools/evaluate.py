"""Score result files against ground truth (no model needed): see --help."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed
    from dense.evaluation.command import main

    sys.exit(main())
