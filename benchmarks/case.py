"""What one benchmark is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Case"]


@dataclass(frozen=True)
class Case:
    """One task, done by us and by peers.

    Attributes:
        name: task and size.
        ours: does the task once and returns its output.
        peers: the same done otherwise, by name.
        agree: raises AssertionError if an output of a peer differs from ours; called before anything is timed.
        bytes: memory that must be read and written at least, each array once.
        flops: floating-point operations that must be done, a multiply-add counts 2.
        device: where it runs, "cpu" or "cuda"; on a GPU the callables must wait until it is done.
        faster: what we promise: at least so many times the speed of every peer; 0 = nothing.
        smaller: likewise, every peer needs at least so many times our peak memory.
    """

    name: str
    ours: Callable[[], object]
    peers: Mapping[str, Callable[[], object]]
    agree: Callable[[object, object], None]
    bytes: int
    flops: int
    device: str = "cpu"
    faster: float = 0.0
    smaller: float = 0.0
