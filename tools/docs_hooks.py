"""Hook of MkDocs: ``<!-- keys FILE -->`` in a page becomes the table of the configuration keys that a Python file adds.

Key, default and meaning are read from the source (assignments and the comments behind them), so that the page cannot differ.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["key_rows", "key_table", "on_page_markdown"]

ROOT = Path(__file__).resolve().parent.parent
_PLACE = re.compile(r"^<!-- keys (\S+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401  called by MkDocs
    """Put the tables in. Raises: OSError if a named file is missing."""
    return _PLACE.sub(lambda found: key_table(ROOT / found[1]), markdown)


def key_table(path: Path) -> str:
    """Markdown table of a file's keys."""
    rows = [f"| `{key}` | `{default}` | {meaning} |" for key, default, meaning in key_rows(path.read_text(encoding="utf-8"))]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def key_rows(source: str) -> Iterator[tuple[str, str, str]]:
    """``(dotted key, default, comment)`` of every assignment below ``cfg`` that gives a key a value, in the file's order."""
    comments = {
        token.start[0]: token.string.lstrip("#: ").replace("|", "\\|")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    for function in ast.parse(source).body:
        if isinstance(function, ast.FunctionDef):
            names = {"cfg": ""}
            for statement in ast.walk(function):
                if isinstance(statement, ast.Assign):
                    meaning = comments.get(statement.lineno, "")
                    yield from ((key, default, meaning) for key, default in _assigned(statement, names))


def _assigned(statement: ast.Assign, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Keys and values of one statement; local names for nodes (``node = cfg.MODEL.TIMM``) are remembered in ``names``."""
    keys = [key for target in statement.targets if (key := _dotted(target, names))]
    for target in statement.targets:
        if isinstance(target, ast.Name):
            place = keys[0] if keys else _dotted(statement.value, names)
            if place:
                names[target.id] = place
        elif isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
            for part, value in zip(target.elts, statement.value.elts, strict=True):
                if key := _dotted(part, names):
                    yield key, ast.unparse(value)
    if not _is_node(statement.value):
        yield from ((key, ast.unparse(statement.value)) for key in keys)
    elif isinstance(statement.value, ast.Call) and statement.value.args and keys:
        for name, value in ast.literal_eval(statement.value.args[0]).items():
            yield f"{keys[0]}.{name}", repr(value)


def _is_node(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "CfgNode"


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    """``MODEL.TIMM.NAME`` for an attribute of ``cfg`` or of a remembered name; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names or not parts:
        return ""
    return ".".join([*([names[node.id]] if names[node.id] else []), *reversed(parts)])
