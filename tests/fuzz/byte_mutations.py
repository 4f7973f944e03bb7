"""Damage without knowledge of the format."""

import random
from collections.abc import Callable, Sequence

__all__ = ["mutate_bytes"]

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 2**64 - 1)


def _flip(rng: random.Random, data: bytearray) -> None:
    place = rng.randrange(len(data))
    data[place] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray) -> None:
    data[rng.randrange(len(data))] = rng.choice((0, 1, 10, 32, 34, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def _remove(rng: random.Random, data: bytearray) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 2, 4, 16, 256))]


def _insert(rng: random.Random, data: bytearray) -> None:
    place = rng.randrange(len(data) + 1)
    data[place:place] = rng.randbytes(rng.choice((1, 2, 4, 16, 256)))


def _repeat(rng: random.Random, data: bytearray) -> None:
    start = rng.randrange(len(data))
    piece = data[start : start + rng.choice((1, 4, 16, 64))]
    data[start:start] = piece * rng.choice((1, 2, 50))


def _number(rng: random.Random, data: bytearray) -> None:
    """A field of two, four or eight bytes set to a number that often goes wrong."""
    size = rng.choice((2, 4, 8))
    value = rng.choice(_NUMBERS) % (1 << 8 * size)
    place = rng.randrange(max(len(data) - size, 0) + 1)
    data[place : place + size] = value.to_bytes(size, rng.choice(("little", "big")))


def _zeros(rng: random.Random, data: bytearray) -> None:
    start = rng.randrange(len(data))
    piece = data[start : start + rng.choice((8, 64, 512))]
    data[start : start + len(piece)] = bytes(len(piece))


_CHANGES: tuple[Callable[[random.Random, bytearray], None], ...] = (
    *(_flip, _flip, _flip, _set, _set, _number, _number, _number),
    *(_cut, _remove, _insert, _repeat, _zeros),
)


def mutate_bytes(rng: random.Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """One to six changes of single bytes, fields and stretches; one in ten is spliced with another sample."""
    data = bytearray(content)
    if others and rng.random() < 0.1:
        other = rng.choice(others)
        data = bytearray(content[: rng.randrange(len(content) + 1)] + other[rng.randrange(len(other) + 1) :])
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if data:
            rng.choice(_CHANGES)(rng, data)
    return bytes(data)
