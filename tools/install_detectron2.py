"""Put Detectron2 into the Python that runs this file; `dense doctor --install-detectron2` does the same without a checkout."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs before anything is installed
    from dense.install_detectron2 import main

    sys.exit(main())
