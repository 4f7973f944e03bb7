"""NumPy's ``.npz``: a ZIP archive with one numeric array per member. No member is unpickled."""

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from dense.checkpoint.inspection import check_archive
from dense.errors import CheckpointError
from dense.io import atomic_write

__all__ = ["read_array_archive", "save_array_archive"]

_SUFFIX = ".npy"
_NUMERIC = "biufc"


def read_array_archive(path: Path) -> dict[str, np.ndarray]:
    """Numeric arrays by their names; text and objects are left out.

    Raises: CheckpointError if the file is no such archive, is damaged, or unpacks to more than the limit.
    """
    if not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path}: is no .npz archive (NumPy's savez). Download it again.")
    check_archive(path)
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.filename.endswith(_SUFFIX):
                    continue
                with archive.open(member) as stream:
                    array = _array(stream, member.file_size)
                if array is not None:
                    arrays[member.filename.removesuffix(_SUFFIX)] = array
    except Exception as error:  # zipfile, zlib, ast and NumPy raise what they like on damaged bytes
        raise CheckpointError(f"{path}: is no readable .npz archive ({error}). Download it again.") from error
    return arrays


def _array(stream: IO[bytes], size: int) -> np.ndarray | None:
    """The array of one member of ``size`` bytes, ``None`` if it is not of numbers."""
    version = np.lib.format.read_magic(stream)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, is_fortran, kind = header(stream)
    if kind.kind not in _NUMERIC or kind.hasobject:
        return None
    count = math.prod(shape)
    if count * kind.itemsize > size:  # looked at before anything is allotted
        raise ValueError(f"an array of {count} values in {size} bytes")
    data = stream.read(count * kind.itemsize)
    flat = np.frombuffer(data, kind, count)
    return flat.reshape(shape, order="F" if is_fortran else "C").astype(kind.newbyteorder("="))


def save_array_archive(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as ``.npz``; bfloat16, which NumPy does not have, as float32."""
    plain = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    arrays = {name: (t.float() if t.dtype == torch.bfloat16 else t).numpy() for name, t in plain.items()}
    with atomic_write(path, "wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
