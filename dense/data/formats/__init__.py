"""Readers and writers of data files; each checks what it reads and names file, record and id of what is wrong.

``youtube_vis``    YouTube-VIS 2019/2021/2022 and OVIS annotations: ``read_youtube_vis`` → ``VideoDataset`` (start here)
``coco``           COCO instances: ``read_coco`` → ``ImageDataset``
``lvis``           LVIS: COCO instances that say what was looked for: ``read_lvis``
``vocabulary``     lists of class names with synonyms: ``read_vocabulary``
``coco_panoptic``  COCO panoptic, JSON and PNG: ``read_panoptic`` → ``PanopticDataset``
``vipseg``         VIPSeg, JSON and PNG per frame: ``read_vipseg`` → ``PanopticVideoDataset``
``vspw``           VSPW, folders of frames and label maps: ``read_vspw`` → ``SemanticVideoDataset``
``semantic_maps``  folders of pictures and label maps: ``read_semantic_folders`` → ``SemanticDataset``
``image_results``  result files of image tasks: detections, panoptic
``video_results``  result files of video instance segmentation: read, write, from a predictor's ``VideoResult``
``video_splits``   training and held-out part of a video file
``video_panoptic`` segments of videos, JSON and PNG (VIPSeg): read for scoring, write results
``label_videos``   label maps of videos (VSPW): find, write results
``mask_tracks``    the masks of one object through a video, in any COCO form, to compressed RLE
``png_ids``        panoptic ids and class labels in PNG files
``picture_sets``   pictures without labels in a folder or a list: ``read_picture_folder`` → ``FilePictures``
``picture_shards`` … in tar files (webdataset): ``read_picture_shards`` → ``TarPictures``
``picture_zip``    … in a zip file with a list (ImageNet): ``read_picture_zip`` → ``ZipPictures``
``image_files``    the images that an annotation file lists, on disk
``category_table`` categories, and ids of the file to class indices
``faults``         raise the first fault, or collect all of them
``records``        ids, counts and lists out of untrusted JSON

Nothing here knows torch or Detectron2.
"""

from dense.data.formats.category_table import Category
from dense.data.formats.coco import ImageDataset, ImageObject, ImageRecord, read_coco
from dense.data.formats.coco_panoptic import PanopticDataset, PanopticRecord, SegmentInfo, read_panoptic
from dense.data.formats.image_results import (
    Detection,
    image_result_to_detections,
    read_detections,
    read_panoptic_results,
    write_detections,
)
from dense.data.formats.semantic_maps import SemanticDataset, SemanticRecord, read_semantic_folders
from dense.data.formats.video_results import (
    ResultRecord,
    read_video_results,
    video_result_to_records,
    write_video_results,
)
from dense.data.formats.vipseg import PanopticFrame, PanopticVideo, PanopticVideoDataset, read_vipseg
from dense.data.formats.vspw import SemanticFrame, SemanticVideo, SemanticVideoDataset, read_vspw
from dense.data.formats.youtube_vis import (
    AnnotationsMissingError,
    ObjectTrack,
    VideoDataset,
    VideoRecord,
    read_youtube_vis,
)

__all__ = [
    "AnnotationsMissingError",
    "Category",
    "Detection",
    "ImageDataset",
    "ImageObject",
    "ImageRecord",
    "ObjectTrack",
    "PanopticDataset",
    "PanopticFrame",
    "PanopticRecord",
    "PanopticVideo",
    "PanopticVideoDataset",
    "ResultRecord",
    "SegmentInfo",
    "SemanticDataset",
    "SemanticFrame",
    "SemanticRecord",
    "SemanticVideo",
    "SemanticVideoDataset",
    "VideoDataset",
    "VideoRecord",
    "image_result_to_detections",
    "read_coco",
    "read_detections",
    "read_panoptic",
    "read_panoptic_results",
    "read_semantic_folders",
    "read_video_results",
    "read_vipseg",
    "read_vspw",
    "read_youtube_vis",
    "video_result_to_records",
    "write_detections",
    "write_video_results",
]
