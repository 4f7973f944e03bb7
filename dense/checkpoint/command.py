"""Command line of ``tools/convert_checkpoint.py``: a checkpoint of others → our names, or ours → theirs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dense.checkpoint.array_archive import save_array_archive
from dense.checkpoint.converting import LAYOUTS, Converted, layout, recognise
from dense.checkpoint.loading import compare
from dense.checkpoint.reading import read_metadata, read_state_dict
from dense.checkpoint.writing import save_detectron2_pickle, save_training_state, save_weights
from dense.errors import CheckpointError

__all__ = ["convert", "main"]

_OURS = "ours"
_SUFFIXES = (".safetensors", ".pth", ".pkl", ".npz")
_EXAMPLES = """layouts:
  {layouts}

examples:
  python tools/convert_checkpoint.py model_final_3c8ec9.pkl segmenter.safetensors --half
  python tools/convert_checkpoint.py mask2former-swin-tiny/model.safetensors ours.safetensors --like segmenter.safetensors
  python tools/convert_checkpoint.py segmenter.safetensors model.safetensors --to transformers
  python tools/convert_checkpoint.py output/model_final.pth official.pth --to official
  python tools/convert_checkpoint.py pixpro_base_r50_400ep.pth pixpro.pkl --to detectron2
  python tools/convert_checkpoint.py pretrained_dito_large/checkpoint_0 dito_large.safetensors
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse ``arguments`` (default: the process's), convert, print what became of every key.

    Returns: exit code 0; 1 if ``--like`` was given and the result does not fit it exactly.
    Raises: DenseError for files that cannot be read or written.
    """
    options = _parser().parse_args(arguments)
    source, target = Path(options.input), Path(options.output)
    if target.suffix not in _SUFFIXES:
        raise CheckpointError(f"{target}: expected a name that ends in {' or '.join(_SUFFIXES)}.")
    if target.resolve() == source.resolve():
        raise CheckpointError(f"{target}: is the input itself. Give another name.")
    tensors = read_state_dict(source)
    given = options.layout_in or _recognised(tensors)
    converted = convert(tensors, given, options.to)
    if not converted.tensors:
        raise CheckpointError(f"{source}: nothing of it has a place in the {options.to} layout (read as {given}).")
    metadata = _metadata(source, given, options.to)
    _write(target, converted.tensors, torch.float16 if options.half else None, metadata)
    kept = "" if options.layout_in or given != _OURS else " (marks of no other layout: names are taken as they are)"
    _say(f"{source}: {len(tensors)} tensors, layout: {given}{kept}")
    _say(f"{target}: {len(converted.tensors)} tensors, layout: {options.to}")
    _list("left out, no use for them there", converted.dropped)
    return 0 if options.like is None or _compare(converted.tensors, options.like) else 1


def convert(tensors: dict[str, Tensor], given: str, wanted: str) -> Converted:
    """Convert between any two layouts, by way of ours.

    Args:
        tensors: name → tensor.
        given: name of the present layout, or ``"ours"``.
        wanted: name of the layout to come, or ``"ours"``.

    Returns: the tensors, and the names (of the present layout, then of ours) that were left out.
    Raises: CheckpointError for an unknown layout or two names that mean the same.
    """
    ours = Converted(dict(tensors)) if given == _OURS else layout(given).to_ours(tensors)
    if wanted == _OURS:
        return ours
    theirs = layout(wanted).from_ours(ours.tensors)
    return Converted(theirs.tensors, [*ours.dropped, *theirs.dropped])


def _parser() -> argparse.ArgumentParser:
    names = [_OURS, *LAYOUTS]
    rows = "\n  ".join(f"{entry.name:<14}{entry.summary}" for entry in LAYOUTS.values())
    parser = argparse.ArgumentParser(
        description="Convert a checkpoint to our names, or from ours to those of others. Loading converts by itself; this is"
        " for files that shall stay converted.",
        epilog=_EXAMPLES.format(layouts=rows),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="INPUT", help=".pth, .pkl, .bin, .safetensors, .npz or Flax; nothing in it is run")
    parser.add_argument(
        "output", metavar="OUTPUT", help=".safetensors, .npz; .pth with the tensors under `model`; .pkl as Detectron2 reads it"
    )
    parser.add_argument("--from", dest="layout_in", choices=names, help="default: recognised by its names")
    parser.add_argument("--to", default=_OURS, choices=names, help="default: %(default)s")
    parser.add_argument("--half", action="store_true", help="store floating-point tensors as float16")
    parser.add_argument(
        "--like", metavar="FILE", help="list every name that differs from this checkpoint's (exit code 1 if any)"
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser


def _recognised(tensors: dict[str, Tensor]) -> str:
    found = recognise(tensors)
    return _OURS if found is None else found.name


def _metadata(source: Path, given: str, wanted: str) -> dict[str, str]:
    """Header of the result: torch's mark, which transformers asks for, and what the source said where the names stay ours."""
    same = {given, wanted} <= {_OURS, "official"} and source.suffix == ".safetensors"
    return {**(read_metadata(source) if same else {}), "format": "pt", "layout": wanted}


def _write(target: Path, tensors: dict[str, Tensor], dtype: torch.dtype | None, metadata: dict[str, str]) -> None:
    if target.suffix == ".safetensors":
        save_weights(target, tensors, dtype=dtype, metadata=metadata)
        return
    plain = {k: (v.to(dtype) if dtype and v.is_floating_point() else v).clone() for k, v in tensors.items()}
    if target.suffix == ".pkl":
        save_detectron2_pickle(target, plain)
    elif target.suffix == ".npz":
        save_array_archive(target, plain)
    else:
        save_training_state(target, {"model": plain})


def _compare(tensors: dict[str, Tensor], like: str) -> bool:
    report = compare(tensors, read_state_dict(like))
    _list(f"not in {like}", report.unused)
    _list(f"only in {like}", report.missing)
    _list("of another shape", [f"{key} {list(ours)} instead of {list(theirs)}" for key, ours, theirs in report.mismatched])
    _say(f"{like}: {len(report.loaded)} names and shapes agree")
    return not (report.unused or report.missing or report.mismatched)


def _list(title: str, names: Sequence[str]) -> None:
    if names:
        _say("\n  ".join([f"{title} ({len(names)}):", *names]))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
