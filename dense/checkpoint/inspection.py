"""Looking at a checkpoint before it is read: pickles that would fill memory or stack, archives that unpack to too much."""

import pickletools
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

from dense.errors import CheckpointError
from dense.limits import MAX_NESTING, max_unpacked_bytes

__all__ = ["check_archive", "check_pickles", "is_archive"]

_PICKLES = 5  # of a file in torch's old format: magic number, version, system, the content, names of the storages
_GET = frozenset({"GET", "BINGET", "LONG_BINGET"})
_PUT = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})


def is_archive(path: Path) -> bool:
    """Whether ``torch.load`` takes the file for an archive (it looks at the first bytes only)."""
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def check_archive(path: Path) -> None:
    """Look at the table of contents of torch's zip format, and at the pickle inside.

    Raises: CheckpointError if the table is broken, has a name twice, promises more bytes than the limit, or the pickle is
        refused.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(path, members)
            for member in members:
                if member.filename.endswith(".pkl"):
                    with archive.open(member) as stream:
                        check_pickles(path, stream, count=1)
    except CheckpointError:
        raise
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, OSError, ValueError, EOFError, RuntimeError) as error:
        raise CheckpointError(f"{path}: is no readable checkpoint ({error}). Download it again.") from error


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename.casefold() for member in members]  # torch does not look at the case
    if len(set(names)) != len(names):
        raise CheckpointError(f"{path}: is an archive with two files of one name. Download it again.")
    total, limit = sum(member.file_size for member in members), max_unpacked_bytes(path.stat().st_size)
    if total > limit:
        raise CheckpointError(
            f"{path}: unpacks to {total / 1e9:.1f} GB, the limit is {limit / 1e9:.1f}. If that is right, raise"
            " DENSE_MAX_UNPACKED_GB."
        )


def check_pickles(path: Path, stream: IO[bytes], count: int = _PICKLES) -> None:
    """Walk through the opcodes of up to ``count`` pickles in a row; nothing is built.

    The C unpickler allots memory for whatever place of its memo is named (34 GB for one opcode), and tuples in tuples in
    tuples overflow the stack when they are hashed.

    Raises: CheckpointError naming ``path`` if a memo place is beyond the number of opcodes, or containers are nested deeper
        than ``MAX_NESTING``; ValueError and others where the bytes are no pickle.
    """
    for _ in range(count):
        depths = _Depths()
        for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if opcode.name in _PUT and int(argument) > number:  # type: ignore[arg-type]
                raise CheckpointError(f"{path}: its pickle names place {argument} after {number} steps; refused as hostile.")
            if depths.after(opcode, argument) > MAX_NESTING:
                raise CheckpointError(f"{path}: its pickle nests more than {MAX_NESTING} containers; refused as hostile.")


class _Depths:
    """Nesting of everything on an unpickler's stack, followed opcode by opcode; wrong stacks are left to the unpickler."""

    def __init__(self) -> None:
        self._stack: list[int] = []  # -1: a mark
        self._memo: dict[int, int] = {}

    def after(self, opcode: Any, argument: Any) -> int:  # noqa: ANN401  pickletools has no types
        """Depth of the newest value after one more opcode."""
        stack, name = self._stack, opcode.name
        if name in _PUT or name == "MEMOIZE":
            self._memo[len(self._memo) if name == "MEMOIZE" else int(argument)] = stack[-1] if stack else 0
        elif name in _GET:
            stack.append(self._memo.get(int(argument), 0))
        elif name == "DUP":
            stack.append(stack[-1] if stack else 0)
        elif name == "MARK":
            stack.append(-1)
        else:
            taken = self._take(opcode.stack_before)
            stack.extend([max(taken, default=0) + bool(taken)] * len(opcode.stack_after))
        return stack[-1] if stack else 0

    def _take(self, before: list[Any]) -> list[int]:
        """What an opcode takes from the stack."""
        taken, names = [], [kind.name for kind in before]
        if "mark" in names:
            while self._stack and (top := self._stack.pop()) >= 0:
                taken.append(top)
            names = names[: names.index("mark")]
        for _ in names:
            if self._stack:
                taken.append(self._stack.pop())
        return [depth for depth in taken if depth >= 0]
