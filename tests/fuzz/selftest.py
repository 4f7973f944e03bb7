"""A reader that crashes, hangs and eats memory on purpose: shows that the runner notices."""

import json
import os
import signal
import time
from pathlib import Path

from .reader import Reader, Sample

__all__ = ["SELFTEST"]

_WISHES = ("crash", "hang", "memory", "nothing")


class _Scripted(Reader):
    """The wish of each seed instead of a mutation."""

    def input(self, seed: int) -> Sample:
        return Sample(".json", json.dumps(_WISHES[seed % len(_WISHES)]).encode())


def _read(path: Path) -> None:
    wish = json.loads(path.read_bytes())
    if wish == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif wish == "hang":
        time.sleep(600)
    elif wish == "memory":
        bytearray(4 << 30)


SELFTEST = _Scripted("selftest", lambda folder: [Sample(".json", b'"nothing"')], lambda rng, content, others: content, _read)
