"""Damage that knows the format: safetensors headers, members of zip files, pickle opcodes, lines of YAML."""

import io
import json
import pickletools
import random
import struct
import warnings
import zipfile
from collections.abc import Sequence

from .byte_mutations import mutate_bytes
from .json_mutations import mutate_json

__all__ = ["mutate_pickle", "mutate_safetensors", "mutate_torch", "mutate_yaml"]


def mutate_safetensors(rng: random.Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """The header as JSON with its length right or wrong, or single bytes."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, content, others)
    size = struct.unpack("<Q", content[:8])[0]
    header, data = content[8 : 8 + size], content[8 + size :]
    if rng.random() < 0.6:
        header = mutate_json(rng, header)
    if rng.random() < 0.2:
        data = rng.choice((data[:-1], data + b"\0", b"", data * 2))
    length = rng.choice((0, 1, 2**31, 2**63, 2**64 - 1, len(content))) if rng.random() < 0.2 else len(header)
    return struct.pack("<Q", length) + header + data


def _operations(content: bytes) -> list[bytes]:
    """A pickle cut into its opcodes, each with its argument."""
    starts = [place for _, _, place in pickletools.genops(content)]
    return [content[a:b] for a, b in zip(starts, [*starts[1:], len(content)], strict=True)]


_OPERATIONS = (
    *(
        b"cos\nsystem\n",
        b"cbuiltins\neval\n",
        b"cnumpy\nndarray\n",
        b"cnumpy\ndtype\n",
        b"ctorch\nload\n",
        b"ctorch\nFloatStorage\n",
    ),
    *(b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"cbuiltins\ngetattr\n", b"cbuiltins\nbytes\n"),
    *(
        b"R",
        b"b",
        b"\x81",
        b"(",
        b"t",
        b"0",
        b"2",
        b"N",
        b"}",
        b"]",
        b")",
        b"u",
        b"e",
        b"s",
        b"a",
        b".",
        b"Q",
        b"\x93",
        b"\x85",
        b"\x86",
    ),
    *(
        b"K\x00",
        b"K\xff",
        b"J\xff\xff\xff\xff",
        b"J\x00\x00\x00\x7f",
        b"\x8a\x08" + b"\xff" * 7 + b"\x7f",
        b"\x8b\xff\xff\xff\x7f",
        b"I1e9\n",
    ),
    *(
        b"r\x00\x00\x00\x10",
        b"r\xff\xff\xff\x7f",
        b"h\x00",
        b"j\xff\xff\xff\x7f",
        b"X\x04\x00\x00\x00name",
        b"G" + b"\x7f\xf8" + bytes(6),
    ),
    *(b"\x8e" + struct.pack("<Q", 2**33), b"\x96" + struct.pack("<Q", 2**33), b"\x8d" + struct.pack("<Q", 2**40), b"F1e999\n"),
    *(
        b"X\x01\x00\x00\x00x\x93",
        b"ios\nsystem\n",
        b"(cos\nsystem\no",
        b"\x82\x01",
        b"Pid\n",
        b"\x95" + struct.pack("<Q", 2**62),
        b")\x85" * 3000,
    ),
)


def mutate_pickle(rng: random.Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Opcodes left out, doubled, exchanged, replaced by others; or single bytes."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, content, others)
    operations = _operations(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(operations))
        other = rng.randrange(len(operations))
        kind = rng.randrange(6)
        if kind == 0 and len(operations) > 1:
            del operations[place]
        elif kind == 1:
            operations.insert(place, operations[other])
        elif kind == 2:
            operations[place], operations[other] = operations[other], operations[place]
        elif kind == 3:
            operations[place] = rng.choice(_OPERATIONS)
        elif kind == 4:
            operations.insert(place, rng.choice(_OPERATIONS))
        else:
            operations[place] = mutate_bytes(rng, operations[place])
    return b"".join(operations)


def mutate_torch(rng: random.Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Members of torch's zip file changed (with right checksums), compressed, doubled or left out; or single bytes."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return mutate_bytes(rng, content, others) if rng.random() < 0.5 else _mutate_legacy(rng, content)
    if rng.random() < 0.25:
        return mutate_bytes(rng, content, others)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    kind = rng.randrange(8)
    place = rng.randrange(len(members))
    name, data = members[place]
    if kind == 0:
        del members[place]
    elif kind == 1:
        members.append((name, mutate_bytes(rng, data or b"x")))
    elif kind == 2:
        members[place] = (mutate_bytes(rng, name.encode()).decode("latin1").replace("\0", ""), data)
    elif kind == 3:
        members[place] = (name, rng.choice((b"", data[:-1], data * 2, bytes(1 << 22), mutate_bytes(rng, data or b"x"))))
    else:
        members = [(n, mutate_pickle(rng, d) if n.endswith("data.pkl") else d) for n, d in members]
    stream = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if rng.random() < 0.2 else zipfile.ZIP_STORED
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", method) as archive:
        warnings.simplefilter("ignore")  # a name twice is meant
        for name, data in members:
            archive.writestr(name or "x", data)
    return stream.getvalue()


def _mutate_legacy(rng: random.Random, content: bytes) -> bytes:
    """The old format, several pickles one after the other: one of them changed."""
    stream, pickles = io.BytesIO(content), []
    for _ in range(5):  # magic number, version, system, the object, names of the storages
        start = stream.tell()
        list(pickletools.genops(stream))
        pickles.append(content[start : stream.tell()])
    place = rng.choice((0, 1, 2, 3, 3, 3, 3, 4))
    pickles[place] = mutate_pickle(rng, pickles[place])
    return b"".join(pickles) + content[stream.tell() :]


_YAML_VALUES = (
    *(
        "null",
        "~",
        "true",
        "-1",
        "0",
        "1e999",
        ".nan",
        ".inf",
        "-.inf",
        "9" * 400,
        "9" * 5000,
        "0x7f",
        "1:30:00",
        "2020-02-30",
        "''",
    ),
    *(
        "2020-01-01T00:00:00+99:00",
        "[]",
        "{}",
        "[1, [2, [3]]]",
        "{A: 1}",
        "&a [*a]",
        "*nowhere",
        "!!python/name:os.system",
        "{? [a]: 1}",
    ),
    *(
        "!!python/object/apply:os.mkdir [PWNED]",
        "!!binary 'a b'",
        "!!set {a}",
        "!!timestamp x",
        "!!int x",
        "!!float '1_0'",
        "text",
        "é\u2028",
    ),
    *(
        "|\n  a\n  b",
        "~nobody/x.yaml",
        "/dev/zero",
        "/",
        "'\\0'",
        '"\\0"',
        '"\\ud800"',
        "(1,2)",
        "(((",
        "'" + "(" * 300 + "'",
        "1" * 50 + ".0",
    ),
    *("[" * 800, "{a: " * 800, "[&x [1, 1], *x, *x]", "!!str 5", "!!omap [a: 1]", "<<", "? ", "- ", "#"),
)
_BOMB = "X0: &x0 {a: 1, b: 2}\n" + "".join(f"X{n}: &x{n} {{a: *x{n - 1}, b: *x{n - 1}, c: *x{n - 1}}}\n" for n in range(1, 40))
_LIST_BOMB = "Y0: &y0 [1, 1]\n" + "".join(f"Y{n}: &y{n} [*y{n - 1}, *y{n - 1}, *y{n - 1}]\n" for n in range(1, 40))
_MERGE_BOMB = "Z0: &z0 {a: 1}\n" + "".join(f"Z{n}: &z{n} {{<<: [*z{n - 1}, *z{n - 1}]}}\n" for n in range(1, 40))
_YAML_LINES = (
    *(
        "_BASE_: input.yaml",
        "_BASE_: nothing.yaml",
        "_BASE_: ~nobody/x.yaml",
        '_BASE_: "a\\0b"',
        "_BASE_: /dev/zero",
        "_BASE_: [a]",
        "_BASE_: ''",
    ),
    *(
        "MODEL: 5",
        "MODEL: [1]",
        "MODEL: {META_ARCHITECTURE: {a: 1}}",
        "? [a, b]\n: 1",
        "1: 2",
        "null: 3",
        "true: {a: 1}",
        "<<: {A: 1}",
        "<<: [1]",
    ),
    *(
        "---",
        "...",
        "%YAML 9.9",
        "%TAG ! x",
        "\t",
        "- a",
        "A: &a {b: *a}",
        _BOMB,
        _LIST_BOMB,
        _MERGE_BOMB,
        "MODEL: &m\n  WEIGHTS: *m",
        "2020-01-01: 1",
    ),
)


def mutate_yaml(rng: random.Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Values and whole lines replaced, moved, indented; or single bytes."""
    if rng.random() < 0.2:
        return mutate_bytes(rng, content, others)
    lines = content.decode().splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(lines))
        kind = rng.randrange(6)
        if kind <= 2:
            lines[place] = lines[place].split(":")[0] + ": " + rng.choice(_YAML_VALUES)
        elif kind == 3:
            lines.insert(place, rng.choice(_YAML_LINES))
        elif kind == 4:
            lines[place] = rng.choice((lines[place] * 2, lines[place].strip(), "  " + lines[place], json.dumps(lines[place])))
        else:
            lines.insert(rng.randrange(len(lines)), lines.pop(place))
    return ("\n".join(lines) + "\n").encode()
