"""Score frozen features of pixels by a linear and a nearest-neighbour probe; see --help."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed
    from dense.inference.probe_command import main

    sys.exit(main())
