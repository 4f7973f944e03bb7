"""Draw which pixels a network finds alike to a chosen one; see --help."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed
    from dense.inference.similarity_maps import main

    sys.exit(main())
