"""Damage of JSON that stays JSON: other types, missing keys, impossible numbers, broken masks."""

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from .byte_mutations import mutate_bytes

__all__ = ["mutate_json", "mutate_tree"]

_RAW = {  # texts that json.dumps cannot write, under the names by which the tree holds them
    "@digits@": "9" * 5000,
    "@digits-4000@": "7" * 4000,
    "@exponent@": "1e999",
    "@deep@": "[" * 700 + "]" * 700,
    "@deeper@": '{"a":' * 30000 + "1" + "}" * 30000,
    "@twice@": '{"id": 1, "id": 2}',
    "@surrogate@": '"\\ud800"',
    "@controls@": '"a\\nb\\u0000\\u2028c"',
}
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        7,
        255,
        256,
        65535,
        2**24,
        2**31 - 1,
        2**31,
        2**32,
        2**53 + 1,
        2**63,
        2**64,
        10**30,
        -(10**30),
    ),
    *(0.0, 0.5, -0.5, 1.0, 1e-300, 1e300, -1e300, 7.0000001, float("nan"), float("inf"), float("-inf")),
    *("", "0", "1", "x", "1e5", "ä", "x" * 5000, "../../x", "/dev/null", "a\nb", "\x00", "~"),
    *([], [0], [[]], [None], [1, 2, 3, 4], [0.5] * 6, {}, {"id": 1}, {"size": [1, 1], "counts": "1"}),
    *(
        {"size": [10**6, 10**6], "counts": "0" * 9},
        {"size": [-6, -8], "counts": [48]},
        {"size": [6, 8], "counts": [10**30, -(10**30) + 48]},
    ),
    *_RAW,
)

Place = tuple[Any, Any]  # container, key


def _places(tree: Any) -> list[Place]:
    found, stack = [], [tree]
    while stack:
        node = stack.pop()
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            found.append((node, key))
            stack.append(value)
    return found


def _replace(rng: random.Random, place: Place) -> None:
    place[0][place[1]] = copy.deepcopy(rng.choice(VALUES))


def _remove(rng: random.Random, place: Place) -> None:
    del place[0][place[1]]


def _double(rng: random.Random, place: Place) -> None:
    container, key = place
    if isinstance(container, list):
        container.insert(key, copy.deepcopy(container[key]))
    else:
        container[f"{key}{rng.choice(('', ' ', '2'))}"] = container.pop(key)


def _tweak(rng: random.Random, place: Place) -> None:
    """A number, text or list changed a little."""
    container, key = place
    value = container[key]
    if isinstance(value, bool) or value is None:
        container[key] = rng.choice((0, 1, "true"))
    elif isinstance(value, int | float):
        changed = (value + 1, value - 1, -value, value * 10, value / 3, float(value), str(value), [value])
        container[key] = rng.choice(changed)
    elif isinstance(value, str):
        cut = rng.randrange(len(value) + 1)
        symbol = chr(rng.choice((48, 63, 64, 79, 80, 95, 96, 111, 112, 32, 0x20AC, rng.randrange(32, 127))))
        container[key] = rng.choice(
            (value[:cut], value[:cut] + symbol + value[cut:], value[:cut] + symbol + value[cut + 1 :], value * 2)
        )
    elif isinstance(value, list):
        container[key] = rng.choice((value[:-1], value + value[-1:], value[::-1], {str(k): v for k, v in enumerate(value)}))
    else:
        container[key] = rng.choice(([value], list(value.values()), str(value)))


def _swap(rng: random.Random, tree: Any) -> None:
    places = _places(tree)
    (a, i), (b, j) = rng.choice(places), rng.choice(places)
    left, right = copy.deepcopy(a[i]), copy.deepcopy(b[j])
    a[i] = right
    if j in b if isinstance(b, dict) else j < len(b):
        b[j] = left


def mutate_tree(rng: random.Random, tree: Any) -> Any:
    """A copy of a JSON value with one to four changes."""
    tree = copy.deepcopy(tree)
    changes: tuple[Callable[[random.Random, Place], None], ...] = (_replace, _replace, _remove, _double, _tweak, _tweak, _tweak)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = _places(tree)
        if not places:
            return copy.deepcopy(rng.choice(VALUES))
        if rng.random() < 0.1:
            _swap(rng, tree)
        else:
            rng.choice(changes)(rng, rng.choice(places))
    return tree


def mutate_json(rng: random.Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Three in four change the tree, one in four the bytes."""
    if rng.random() < 0.25:
        return mutate_bytes(rng, content, others)
    text = json.dumps(mutate_tree(rng, json.loads(content)))
    for name, raw in _RAW.items():
        text = text.replace(f'"{name}"', raw)
    return text.encode()
