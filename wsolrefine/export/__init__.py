"""From maps, masks and boxes to the formats of trainers and annotation tools."""

from wsolrefine.export.coco import write_coco
from wsolrefine.export.detections import write_coco_results
from wsolrefine.export.labelme import write_labelme
from wsolrefine.export.labelstudio import write_labelstudio
from wsolrefine.export.localized import records_of
from wsolrefine.export.masks import write_masks
from wsolrefine.export.names import Used, used_classes
from wsolrefine.export.prompts import write_sam
from wsolrefine.export.records import Object, Record, RunLengths
from wsolrefine.export.results import Results, read_results
from wsolrefine.export.selection import select_objects
from wsolrefine.export.table import write_csv
from wsolrefine.export.voc import write_voc
from wsolrefine.export.yolo import write_yolo

__all__ = [
    "Object",
    "Record",
    "Results",
    "RunLengths",
    "Used",
    "read_results",
    "records_of",
    "select_objects",
    "used_classes",
    "write_coco",
    "write_coco_results",
    "write_csv",
    "write_labelme",
    "write_labelstudio",
    "write_masks",
    "write_sam",
    "write_voc",
    "write_yolo",
]
