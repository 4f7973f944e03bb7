"""What a reader does with a fault: raise it (the plain readers), or note it and go on (the checker), so that rules exist once.

A reader takes ``faults`` and calls its rules through ``faults.attempt``. With ``RAISE_FIRST`` that is a plain call; a
``FaultLog`` keeps every DataError with its place in the file, and the reader goes on with the next field or record.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from dense.errors import DataError

__all__ = ["RAISE_FIRST", "Fault", "FaultLog", "Faults"]

Result = TypeVar("Result")

ERROR, WARNING = "error", "warning"

_STEP = r"\w+(?:\[\d+\])+"
_OWNER = r" \((?:id|image|video) [^()]*\)"
_PLACE = re.compile(
    rf"(?P<path>{_STEP}(?:{_OWNER}|\.\w+(?:\[\d+\])*)*)"  # annotations[3] (image 5).segments_info[1] (id 9)
    r"(?: of (?P<of>(?:image|video) [^\s:]+))?"
    rf"(?:: `(?P<field>\w+)`|: (?P<reference>(?:category_id|image_id|video_id)|{_STEP}) )?"
)
_FIELD = re.compile(r"`(?P<field>\w+)`")


@dataclass(frozen=True)
class Fault:
    """One fault of a data set.

    Attributes:
        kind: what sort of fault, for counts: ``mask``, ``duplicate id``, ``missing picture``, …
        severity: ``error`` (a reader refuses it) or ``warning`` (readers cope with it; it may not be what was meant).
        file: the file that is wrong.
        position: JSON path in that file, for instance ``annotations[17].segmentations[3]``; empty for a whole file.
        record: id of the record (text, empty where it has none).
        message: one line: what is wrong, where, what was expected.
    """

    kind: str
    severity: str
    file: str
    position: str
    record: str
    message: str


class Faults:
    """The plain reader's way: the first fault is raised, warnings are not kept."""

    collecting = False
    errors = 0

    def attempt(self, kind: str, rule: Callable[..., Result], *arguments: Any, **options: Any) -> Result | None:  # noqa: ANN401  the rule's own
        """``rule(*arguments, **options)``; ``None`` where it found a fault that was noted instead of raised."""
        return rule(*arguments, **options)

    def error(self, kind: str, message: str, position: str = "", record: object = "") -> None:
        """A fault. Raises: DataError with ``message``, unless faults are collected."""
        raise DataError(message)

    def warn(self, kind: str, message: str, position: str = "", record: object = "") -> None:
        """Something that readers cope with; kept only where faults are collected."""

    def lose(self, field: str, identity: object = None) -> None:
        """Note that a faulty record of ``field`` was left out (``None``: all), so that what refers to it is no second fault."""

    def is_lost(self, field: str, identity: object) -> bool:
        """Whether ``identity`` was left out of ``field``."""
        return False


RAISE_FIRST = Faults()
"""For readers: nothing is noted, the first DataError goes through."""


class FaultLog(Faults):
    """Keeps every fault of one file and its pictures.

    Args:
        file: name of the file as readers put it in front of their messages.
    """

    collecting = True

    def __init__(self, file: str) -> None:
        self.file = file
        self.faults: list[Fault] = []
        self.errors = 0
        self._lost: set[tuple[str, object]] = set()

    def attempt(self, kind: str, rule: Callable[..., Result], *arguments: Any, **options: Any) -> Result | None:  # noqa: ANN401  the rule's own
        """The rule's result, or ``None`` after its DataError was noted."""
        try:
            return rule(*arguments, **options)
        except DataError as error:
            self.error(kind, str(error))
            return None

    def error(self, kind: str, message: str, position: str = "", record: object = "") -> None:
        """Note a fault; place and record are taken from the message where they are not given."""
        self.errors += 1
        self._note(kind, ERROR, message, position, record)

    def warn(self, kind: str, message: str, position: str = "", record: object = "") -> None:
        """Note a warning; as ``error``."""
        self._note(kind, WARNING, message, position, record)

    def lose(self, field: str, identity: object = None) -> None:
        """As in ``Faults``, and remembered."""
        self._lost.add((field, identity))

    def is_lost(self, field: str, identity: object) -> bool:
        """As in ``Faults``."""
        return (field, None) in self._lost or (field, identity) in self._lost

    def _note(self, kind: str, severity: str, message: str, position: str, record: object) -> None:
        file, found_position, found_record = self._place(message)
        self.faults.append(Fault(kind, severity, file, position or found_position, str(record) or found_record, message))

    def _place(self, message: str) -> tuple[str, str, str]:
        """File, JSON path and record id that a message begins with: ``FILE: annotations[3] (id 4).segmentations[2]: …``."""
        if not message.startswith(f"{self.file}: "):
            return message.split(": ", 1)[0], "", ""
        rest = message[len(self.file) + 2 :]
        place = _PLACE.match(rest)
        if place is None:
            field = _FIELD.match(rest)
            return self.file, field["field"] if field else "", ""
        position = re.sub(_OWNER, "", place["path"])
        inside = place["field"] or place["reference"]
        owners = [owner.strip(" ()").removeprefix("id ") for owner in re.findall(_OWNER, place["path"])]
        return self.file, position + (f".{inside}" if inside else ""), "/".join(owners) or place["of"] or ""
