"""A reader under test, and the rule: a sound value, or one error of ours in one line that names the file."""

import random
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dense.errors import DenseError

__all__ = ["LONGEST_MESSAGE", "Outcome", "Reader", "Sample", "Unsound", "judge"]

LONGEST_MESSAGE = 2100


class Unsound(AssertionError):
    """A reader returned something that breaks its promises."""


@dataclass(frozen=True)
class Sample:
    """A valid file: its extension and content."""

    suffix: str
    content: bytes


@dataclass
class Reader:
    """One reader.

    Attributes:
        name: as in the table.
        prepare: makes the files that lie beside the input, and returns valid inputs.
        mutate: from generator, valid content and the contents of all samples to a damaged content.
        read: reads the file and raises Unsound if what comes back breaks an invariant.
        named: the message must name the input's file (or its folder).
    """

    name: str
    prepare: Callable[[Path], Sequence[Sample]]
    mutate: Callable[[random.Random, bytes, Sequence[bytes]], bytes]
    read: Callable[[Path], object]
    samples: Sequence[Sample] = field(default=(), repr=False)

    def input(self, seed: int) -> Sample:
        """The input of a seed: always the same one."""
        rng = random.Random(f"{self.name} {seed}")
        sample = rng.choice(self.samples)
        return Sample(sample.suffix, self.mutate(rng, sample.content, [s.content for s in self.samples]))


@dataclass(frozen=True)
class Outcome:
    """``kind``: accepted, refused or failed; ``detail``: the message or the traceback."""

    kind: str
    detail: str = ""


def judge(reader: Reader, path: Path) -> Outcome:
    """Read one file and compare what happens with the rule."""
    try:
        reader.read(path)
    except DenseError as error:
        wrong = _wrong_message(str(error), path)
        return Outcome("failed", f"{wrong}: {error!s:.300}") if wrong else Outcome("refused", str(error))
    except BaseException:  # noqa: BLE001  whatever it is: it is no error of ours
        return Outcome("failed", traceback.format_exc(limit=-12)[-4000:])
    return Outcome("accepted")


def _wrong_message(message: str, path: Path) -> str:
    if len(message.splitlines()) != 1 or any(c < " " or "\x7f" <= c < "\xa0" or "\ud800" <= c < "\ue000" for c in message):
        return "the message is not one printable line"
    if len(message) > LONGEST_MESSAGE:
        return f"the message has {len(message)} characters"
    if path.name not in message and str(path.parent) not in message:
        return "the message does not name the file"
    return ""
