"""What the ``demo-video`` command writes: annotated video and pictures, lines of results, the files of the task, a page."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dense.inference.map_files import MapFiles, PanopticFiles, SemanticFiles, video_name
from dense.inference.stream_files import JSONLinesWriter, write_tracks
from dense.video import Frame, FrameFolderWriter, FrameSource, VideoWriter

__all__ = ["DemoWriters", "Outputs"]

_MAP_FILES: dict[str, type[PanopticFiles] | type[SemanticFiles]] = {"vps": PanopticFiles, "vss": SemanticFiles}


@dataclass(frozen=True)
class Outputs:
    """Where results go; ``None`` = not wanted.

    Attributes:
        video: annotated video file.
        frames: folder of annotated PNG pictures.
        lines: JSON Lines file, a header and one line per frame, complete up to the last line at any moment.
        results: folder of the result files in the form of the task's benchmark: ``results.json`` (YouTube-VIS), ``pred.json``
            and ``pan_pred`` (VIPSeg) or ``semantic`` (VSPW).
        page: HTML file, written at the end; it shows ``video`` and reads ``lines``.
    """

    video: Path | None
    frames: Path | None
    lines: Path | None
    results: Path | None
    page: Path | None = None


class DemoWriters:
    """Opens the outputs and takes frame by frame.

    Args:
        outputs: what is wanted.
        source: where the frames come from.
        task: of the model, ``vis``, ``vps`` or ``vss``.
        categories: names of the classes.
        stack: closes the files in the end, whatever happens.
    """

    def __init__(self, outputs: Outputs, source: FrameSource, task: str, categories: Sequence[str], stack: ExitStack) -> None:
        self._outputs, self._source, self._categories = outputs, source, categories
        self._pictures: list[VideoWriter | FrameFolderWriter] = []
        if outputs.video is not None:
            self._pictures.append(stack.enter_context(VideoWriter(outputs.video, rate=source.rate)))
        if outputs.frames is not None:
            self._pictures.append(stack.enter_context(FrameFolderWriter(outputs.frames)))
        self._lines: JSONLinesWriter | None = None
        if outputs.lines is not None:
            self._lines = stack.enter_context(JSONLinesWriter(outputs.lines, source.label, categories))
        self._maps: MapFiles | None = None
        if outputs.results is not None and task in _MAP_FILES:
            self._maps = _MAP_FILES[task](outputs.results, video_name(source.label), categories)

    def write(self, frame: Frame, result: Any) -> None:  # noqa: ANN401  a FrameResult
        """Write one frame everywhere."""
        from dense.visualization import draw_frame, draw_maps

        if self._pictures:
            if result.panoptic is None and result.semantic is None:
                picture = draw_frame(frame.image, result, self._categories, min_score=0.0)  # the predictor has selected already
            else:
                picture = draw_maps(frame.image, result, self._categories)
            for writer in self._pictures:
                writer.write(picture, time_s=frame.time_s, name=frame.name)
        if self._maps is not None:
            self._maps.write(result, frame.name)
        if self._lines is not None:
            self._lines.write(result)

    def finish(self, facts: Mapping[str, str | Sequence[str]]) -> list[Path]:
        """Once the files are closed: write what needs the whole video.

        Args:
            facts: for the page.

        Returns: all files and folders written.
        """
        outputs = self._outputs
        written = [path for path in (outputs.video, outputs.frames, outputs.lines) if path is not None]
        if self._maps is not None:
            written += self._maps.close()
        elif outputs.results is not None and outputs.lines is not None:
            written.append(outputs.results / "results.json")
            write_tracks(outputs.lines, written[-1])
        if outputs.page is not None and outputs.lines is not None and outputs.video is not None:
            from dense.inference.video_page import own_video_report, write_own_page

            report = own_video_report(self._source.label, outputs.lines, outputs.video, facts)
            written.append(write_own_page(report, outputs.page))
        return written
