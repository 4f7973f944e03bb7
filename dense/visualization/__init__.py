"""What people look at: pictures with masks, and one self-contained HTML page about a run.

``overlay``  masks, outlines and labels over pictures: ``draw_frame``, ``draw_tracks``, ``side_by_side`` (start here)
``maps``     panoptic and semantic maps over pictures: ``draw_image``, ``draw_maps``, ``draw_panoptic``, ``draw_semantic``
``palette``  one fixed colour per track id: ``track_color``
``labels``   fitting and placing label chips
``similarity``  cosine to one pixel over a picture: ``draw_similarity``
``report``   ``write_report``: the HTML page and the plain records it is made from
``tracks``   from ``VideoResult`` to the rows of the page's timelines, beside the ground truth
``charts``   geometry of the page's timelines and bars
``media``    pictures and videos as ``data:`` addresses

Not here: reading and writing video (``dense.video``) and figures of merit (``dense.evaluation``).
"""

from dense.visualization.maps import draw_image, draw_maps, draw_panoptic, draw_semantic, segment_color
from dense.visualization.overlay import draw_frame, draw_tracks, side_by_side
from dense.visualization.palette import track_color
from dense.visualization.report import FramePair, Metric, Report, ReportVideo, TrackRow, write_report
from dense.visualization.tracks import paired_rows, track_rows

__all__ = [
    "FramePair",
    "Metric",
    "Report",
    "ReportVideo",
    "TrackRow",
    "draw_frame",
    "draw_image",
    "draw_maps",
    "draw_panoptic",
    "draw_semantic",
    "draw_tracks",
    "paired_rows",
    "segment_color",
    "side_by_side",
    "track_color",
    "track_rows",
    "write_report",
]
