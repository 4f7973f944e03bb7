"""Video in and out, frame by frame, in constant memory.

reader.py          open_frames: video file, folder, pattern, camera or arrays -> FrameSource of Frame
frames.py          Frame, FrameSource, DamagedVideoError, limits and checks that all sources share
video_file.py      PyAV decoding: rotation, times, colours, damage
pictures.py        read_picture, list_pictures: single pictures as RGB, natural order
orientation.py     EXIF orientation and display matrix as one of eight turns
containers.py      opening files, choosing the stream, output extensions, check_output_path
writer.py          VideoWriter: crash-safe, keeps frame times
encoding.py        encoder settings, colours and the final MP4
folder_writer.py   FrameFolderWriter: one PNG per frame
info.py            probe: what a file is

Start with reader.py. PyAV and Pillow are imported when a video or picture is first opened.
"""

import importlib
from typing import TYPE_CHECKING, Any

from dense.video.frames import MAX_FRAME_PIXELS, DamagedVideoError, Frame, FrameSource
from dense.video.pictures import list_pictures, read_picture
from dense.video.reader import open_frames

if TYPE_CHECKING:
    from dense.video.containers import check_output_path
    from dense.video.folder_writer import FrameFolderWriter
    from dense.video.info import VideoInfo, probe
    from dense.video.writer import VideoWriter

_LATER = {
    "FrameFolderWriter": "folder_writer",
    "VideoInfo": "info",
    "VideoWriter": "writer",
    "check_output_path": "containers",
    "probe": "info",
}

__all__ = [
    "MAX_FRAME_PIXELS",
    "DamagedVideoError",
    "Frame",
    "FrameFolderWriter",
    "FrameSource",
    "VideoInfo",
    "VideoWriter",
    "check_output_path",
    "list_pictures",
    "open_frames",
    "probe",
    "read_picture",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module attribute can be anything
    if name in _LATER:
        return getattr(importlib.import_module(f"dense.video.{_LATER[name]}"), name)
    raise AttributeError(f"module 'dense.video' has no attribute {name!r}")
