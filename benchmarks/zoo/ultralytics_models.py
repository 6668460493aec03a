"""Ultralytics' detectors, segmenters, pose estimators and classifiers, the smallest of each configuration file."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import torch
from torch import nn

from .torch_costs import COLUMNS, Outcome, checked

__all__ = ["COLUMNS", "EXCEPTIONS", "REQUIRES", "cases", "check"]

REQUIRES = ("ultralytics",)
EXCEPTIONS: dict[str, str] = {}
_NAMES = (
    "yolo11n yolo11n-cls yolo11n-obb yolo11n-pose yolo11n-seg yoloe-11s yoloe-11s-seg yolo12n yolo12n-cls yolo12n-seg "
    "yolo26n yolo26n-cls yolo26n-obb yolo26n-pose yolo26n-seg yolo26n-sem yolo26n-depth rtdetr-l rtdetr-resnet50 "
    "yolov10n yolov10s yolov10m yolov3 yolov3-tiny yolov3-spp yolov5n yolov5n-p6 yolov6n yolov8n yolov8n-cls "
    "yolov8n-cls-resnet50 yolov8n-ghost yolov8n-obb yolov8n-p2 yolov8n-p6 yolov8n-pose yolov8n-seg "
    "yolov8s-world yolov8s-worldv2 yoloe-v8s yolov9t yolov9s yolov9c yolov9c-seg yolov9e"
)
_TASKS = {
    "detect": "DetectionModel",
    "segment": "SegmentationModel",
    "semantic": "SemanticSegmentationModel",
    "depth": "DepthModel",
    "classify": "ClassificationModel",
    "pose": "PoseModel",
    "obb": "OBBModel",
}
_ARCHITECTURES = {"rtdetr": "RTDETRDetectionModel", "world": "WorldModel", "yoloe": "YOLOEModel"}
SIZE = 320


def cases() -> list[str]:
    """Names of the configurations, with the size."""
    return _NAMES.split()


def check(case: str) -> Outcome:
    """All columns for one model."""
    return checked(lambda: build(case))


def build(case: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """A model with random weights and an image, on the default device."""
    os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.gettempdir())  # its import writes settings
    from ultralytics.nn import tasks

    config = tasks.yaml_model_load(f"{case}.yaml")
    kind = tasks.guess_model_task(config)
    special = next((name for key, name in _ARCHITECTURES.items() if key in case), None) or _TASKS[kind]
    if special == "YOLOEModel" and kind == "segment":
        special = "YOLOESegModel"
    return getattr(tasks, special)(config, verbose=False), (torch.zeros(1, 3, SIZE, SIZE),)
