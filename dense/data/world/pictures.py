"""Writing rendered frames as JPEG."""

from pathlib import Path
from typing import TYPE_CHECKING

from dense.data.world.parameters import JPEG_QUALITY
from dense.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["write_jpeg"]


def write_jpeg(target: Path, image: "NDArray[np.uint8]") -> None:
    """Write ``(H, W, 3)`` uint8 RGB; missing folders are made. Raises: DataError if that is not possible."""
    import cv2
    import numpy as np

    _, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.tobytes())
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror}).") from error
