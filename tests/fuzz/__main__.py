"""``python tests/fuzz``: see ``command``."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[0:1] = [str(TESTS), str(TESTS.parent)]

from fuzz.command import main  # noqa: E402  the path first

sys.exit(main())
