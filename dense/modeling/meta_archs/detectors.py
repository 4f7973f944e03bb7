"""Detectron2's detectors in this toolbox: ``GeneralizedRCNN``, ``RetinaNet`` and FCOS train and predict like models of ours.

Names in state dicts and configurations stay Detectron2's, so its checkpoints and YAML files fit.
"""

from functools import cache
from typing import Any

from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, PROPOSAL_GENERATOR_REGISTRY, ROI_HEADS_REGISTRY
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.modeling.meta_arch.rcnn import GeneralizedRCNN
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from fvcore.common.registry import Registry
from torch import nn

from dense.config.architectures import class_key
from dense.config.checks import check_ranges, value_at
from dense.data.mappers.image_detection import DetectionTargets
from dense.errors import ConfigError, NonFiniteError
from dense.registry import nearest

__all__ = ["build_detector", "is_detector_class", "trainable"]

_MOST_CLASSES = 1_000_000
_NORMALIZER = "loss_normalizer"  # Detectron2's running number of positive anchors


def is_detector_class(kind: object) -> bool:
    """Whether ``kind``, an entry of META_ARCH_REGISTRY, is one of Detectron2's detectors or derived from one."""
    return isinstance(kind, type) and issubclass(kind, (GeneralizedRCNN, DenseDetector))


def build_detector(cfg: CfgNode) -> nn.Module:
    """Build the detector that MODEL.META_ARCHITECTURE names, without weights.

    Raises: ConfigError for an unknown part, numbers that fit no detector, or what is not supported (key points, proposals read
        from files).
    """
    kind = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)
    _check(cfg, issubclass(kind, GeneralizedRCNN))
    try:
        model = kind(cfg)
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"MODEL: a {cfg.MODEL.META_ARCHITECTURE} cannot be built of it ({type(error).__name__}: {reason}). Do the feature"
            " names and numbers of BACKBONE, FPN, ANCHOR_GENERATOR and the heads fit each other?"
        ) from error
    return trainable(model)


def trainable(model: Any) -> nn.Module:  # noqa: ANN401  a module that gets attributes of other types
    """Make one of Detectron2's detectors fit the trainer and the predictors, in place: the same parameters, the same names."""
    kind: Any = type(model)
    model.__class__ = _adapted(kind)
    model.tasks = frozenset({"instance"})
    model.vis_period = 0  # pictures of training would go into a storage that nobody reads
    return model  # type: ignore[no-any-return]


def _check(cfg: CfgNode, two_stages: bool) -> None:
    key, model = class_key(cfg), cfg.MODEL
    check_ranges(cfg, {key: (1, _MOST_CLASSES)})
    _check_name("MODEL.BACKBONE.NAME", cfg, BACKBONE_REGISTRY)
    if two_stages:
        _check_name("MODEL.PROPOSAL_GENERATOR.NAME", cfg, PROPOSAL_GENERATOR_REGISTRY)
        _check_name("MODEL.ROI_HEADS.NAME", cfg, ROI_HEADS_REGISTRY)
    for unsupported in ("KEYPOINT_ON", "LOAD_PROPOSALS"):
        if model[unsupported]:
            raise ConfigError(f"MODEL.{unsupported}: True is not supported. Set it to False.")


def _check_name(key: str, cfg: CfgNode, registry: Registry) -> None:
    name = value_at(cfg, key)
    if name not in registry:
        raise ConfigError(f"{key}: unknown {name!r}.{nearest(name, [known for known, _ in registry])}")


class _Detector:
    """What comes before the class of a detector: targets in, Detectron2's event storage around the step, one kind of error."""

    training: bool

    def forward(self, batch: list[dict[str, Any]]) -> Any:  # noqa: ANN401  losses by name, or a dict per image
        """Losses in training, else per image a dict with ``instances`` (Detectron2's).

        Raises: NonFiniteError where Detectron2 finds its proposals not finite.
        """
        inner: Any = super()
        if not self.training:
            return inner.forward(batch)
        records = [{**record, "instances": _instances(record["instances"])} for record in batch]
        try:
            with EventStorage():
                return inner.forward(records)
        except FloatingPointError as error:
            raise NonFiniteError(f"not finite: the proposals ({str(error).splitlines()[0]})") from error


class _DenseDetector(_Detector):
    """One that divides its losses by a running mean, which a continued run must know."""

    def training_state(self) -> dict[Any, Any]:
        """The mean, once there is one."""
        return {_NORMALIZER: float(getattr(self, _NORMALIZER))} if hasattr(self, _NORMALIZER) else {}

    def load_training_state(self, state: dict[Any, Any]) -> None:
        """Go on with that mean. Raises: ValueError if it is no number above 0."""
        value = state.get(_NORMALIZER)
        if value is None:
            self.__dict__.pop(_NORMALIZER, None)
            return
        if not isinstance(value, float) or not 0 < value < float("inf"):
            raise ValueError(f"{_NORMALIZER} is {value!r}, expected a number above 0")
        setattr(self, _NORMALIZER, value)


@cache
def _adapted(kind: Any) -> Any:  # noqa: ANN401  a class; mypy takes modules for not hashable
    """``kind`` with the adapter before it (PyTorch's FSDP and parametrizations change classes in the same way)."""
    if issubclass(kind, _Detector):
        return kind
    first = _DenseDetector if issubclass(kind, DenseDetector) else _Detector
    return type(kind.__name__, (first, kind), {"__doc__": kind.__doc__, "__module__": kind.__module__})


def _instances(targets: DetectionTargets | Instances) -> Instances:
    """Detectron2's container; one that comes from somebody's own mapper passes."""
    if isinstance(targets, Instances):
        return targets
    found = Instances(targets.size)
    found.gt_boxes = Boxes(targets.boxes)
    found.gt_classes = targets.labels
    if targets.masks is not None:
        found.gt_masks = BitMasks(targets.masks)
    return found
