"""From a record of a data set to the dictionary a model reads.

* ``video_instances``: :class:`VideoInstanceMapper` (training clip), :class:`VideoTestMapper` (whole video, read
  lazily through :class:`LazyFrames`). Read first.
* ``image_segmentation``: :class:`ImageSegmentationMapper` (training image).
* ``image_detection``: :class:`DetectionMapper` (training image of a detector).
* ``image_clips``: :class:`ImageClipMapper` (training clip made of one image).
* ``video_regions``: :class:`VideoRegionMapper` (training clip of VIPSeg or VSPW), :class:`VideoMapTestMapper` (whole video).
* ``image_annotations``: regions of an image from COCO instances, COCO panoptic or label maps.
* ``frame_sampling``: :func:`sample_frames`, :class:`FrameSampler`: which frames make a clip.
* ``frame_targets``: :class:`FrameTargets`, the objects of one frame.
* ``captions``: :class:`CaptionMapper`, image and caption for image-text pretraining.
* ``replacement``: pictures that cannot be read are replaced by others; ``reduced_decoding``: large JPEGs are decoded smaller.
* ``views``: views of a picture without labels, for pretraining; needs OpenCV, import it from the module itself.
* ``image_reading``: :func:`read_image`, :func:`image_tensor`.
"""

from dense.data.mappers.frame_sampling import FrameSampler, sample_frames
from dense.data.mappers.frame_targets import FrameTargets
from dense.data.mappers.image_annotations import (
    ImageAnnotations,
    InstanceAnnotations,
    PanopticAnnotations,
    Regions,
    SemanticAnnotations,
)
from dense.data.mappers.image_clips import ImageClipMapper
from dense.data.mappers.image_detection import DetectionMapper, DetectionTargets
from dense.data.mappers.image_reading import image_tensor, read_image
from dense.data.mappers.image_segmentation import ImageSegmentationMapper, ImageTargets
from dense.data.mappers.video_instances import LazyFrames, VideoInstanceMapper, VideoTestMapper
from dense.data.mappers.video_regions import (
    PanopticVideoMaps,
    SemanticVideoMaps,
    VideoMaps,
    VideoMapTestMapper,
    VideoRegionMapper,
)

__all__ = [
    "DetectionMapper",
    "DetectionTargets",
    "FrameSampler",
    "FrameTargets",
    "ImageAnnotations",
    "ImageClipMapper",
    "ImageSegmentationMapper",
    "ImageTargets",
    "InstanceAnnotations",
    "LazyFrames",
    "PanopticAnnotations",
    "PanopticVideoMaps",
    "Regions",
    "SemanticAnnotations",
    "SemanticVideoMaps",
    "VideoInstanceMapper",
    "VideoMapTestMapper",
    "VideoMaps",
    "VideoRegionMapper",
    "VideoTestMapper",
    "image_tensor",
    "read_image",
    "sample_frames",
]
