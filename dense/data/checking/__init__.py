"""Checking a whole data set: every fault with record and position, figures, a contact sheet.

``command``     the command line ``dense check-data`` (start here)
``targets``     from what the user typed to files: ``find_targets``
``formats``     one check per format: ``check_target`` → ``CheckReport``
``report``      what a check found: faults, counts, sizes, categories
``instances``   COCO instances, YouTube-VIS and OVIS: boxes, masks, areas
``panoptic``    COCO panoptic and VIPSeg: PNG against JSON
``semantic``    folders of label maps and VSPW
``pictures``    whether pictures are there, whole, and of the stated size
``sheet``       the contact sheet

The rules of the records are those of the readers in ``dense.data.formats``; here are only those that need more than one record
or the files on disk.
"""

from dense.data.checking.formats import check_target
from dense.data.checking.report import CategoryRow, CheckReport
from dense.data.checking.targets import FORMATS, Target, find_targets

__all__ = ["FORMATS", "CategoryRow", "CheckReport", "Target", "check_target", "find_targets"]
