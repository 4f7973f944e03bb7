"""Probes on frozen features of pixels: how well a linear classifier and nearest neighbours tell the classes apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dense.data.mappers.image_annotations import ImageAnnotations
from dense.data.mappers.image_reading import read_image
from dense.errors import DataError
from dense.evaluation.semantic import ConfusionMatrix
from dense.inference.pixel_features import PixelEncoder

__all__ = ["IGNORED", "LabelledPixels", "collect_pixels", "label_map", "linear_probe", "neighbour_probe", "score_probes"]

IGNORED = 255
Classifier = Callable[[Tensor], Tensor]
"""``(N, C)`` features → ``(N, K)`` scores."""


@dataclass(frozen=True)
class LabelledPixels:
    """Features ``(N, C)`` float32 and classes ``(N,)`` int64 of sampled pixels."""

    features: Tensor
    labels: Tensor


def label_map(annotations: ImageAnnotations, index: int, size: tuple[int, int], background: int = IGNORED) -> NDArray[np.int64]:
    """``(H, W)`` classes of an image; smaller regions lie over larger ones, what no region covers is ``background``."""
    regions = annotations.regions(index, size)
    labels = np.full(size, background, np.int64)
    areas = regions.masks.sum(axis=(1, 2))
    for k in np.argsort(-areas, kind="stable"):
        labels[regions.masks[k]] = regions.labels[k]
    return labels


def collect_pixels(
    encoder: PixelEncoder,
    annotations: ImageAnnotations,
    images: Sequence[int],
    *,
    on: str,
    per_image: int,
    seed: int,
    background: int = IGNORED,
) -> LabelledPixels:
    """Features and classes of random cells, each labelled by the pixel under its centre.

    Args:
        encoder: of the network.
        annotations: the images.
        images: which of them.
        on: name of the map, see ``PixelEncoder.maps``.
        per_image: cells per image at most.
        seed: of the draw.
        background: class of pixels without a region; ``IGNORED`` = they are not drawn.

    Raises: DataError if no image has a labelled pixel, or a file is wrong.
    """
    rng, features, labels = np.random.default_rng(seed), [], []
    for index in images:
        image = read_image(annotations.path(index), annotations.stated_size(index))
        found = encoder.maps(image)[on]
        rows, columns = found.centres()
        classes = label_map(annotations, index, found.size, background)[rows][:, columns]  # (h, w)
        inside = (rows >= 0)[:, None] & (columns >= 0)[None] & (classes != IGNORED)
        cells = np.flatnonzero(inside)
        chosen = rng.permutation(cells)[:per_image]
        features.append(found.values.flatten(1)[:, torch.from_numpy(chosen)].T.float().cpu())
        labels.append(torch.from_numpy(classes.ravel()[chosen]))
    if not sum(len(part) for part in labels):
        raise DataError(f"probe: none of {len(images)} training images has a labelled pixel.")
    return LabelledPixels(torch.cat(features), torch.cat(labels))


def linear_probe(pixels: LabelledPixels, num_classes: int, *, decay: float = 1e-4, steps: int = 200) -> Classifier:
    """Multinomial logistic regression on standardised features, to the optimum (L-BFGS), so that no learning rate is tuned.

    Args:
        pixels: to fit.
        num_classes: K.
        decay: factor of the squared weights.
        steps: iterations at most.
    """
    standardise = _standardiser(pixels.features)
    inputs = standardise(pixels.features)
    weight = torch.zeros(num_classes, inputs.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(inputs @ weight.T + bias, pixels.labels) + decay * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    fitted = weight.detach(), bias.detach()
    return lambda features: standardise(features) @ fitted[0].T + fitted[1]


def neighbour_probe(pixels: LabelledPixels, num_classes: int, *, neighbours: int = 20, temperature: float = 0.07) -> Classifier:
    """Vote of the nearest sampled pixels by the cosine of standardised features, weighted by exp(cosine / temperature).

    Args:
        pixels: the bank.
        num_classes: K.
        neighbours: votes per pixel.
        temperature: of the weights.
    """
    standardise = _standardiser(pixels.features)
    bank = F.normalize(standardise(pixels.features), dim=1)
    votes = F.one_hot(pixels.labels, num_classes).float()

    def classify(features: Tensor) -> Tensor:
        cosines = F.normalize(standardise(features), dim=1) @ bank.T
        nearest = cosines.topk(min(neighbours, len(bank)), dim=1)
        weights = torch.softmax(nearest.values / temperature, 1)
        return torch.einsum("nk,nkc->nc", weights, votes[nearest.indices])

    return classify


def score_probes(
    encoder: PixelEncoder,
    probes: dict[str, Classifier],
    annotations: ImageAnnotations,
    images: Sequence[int],
    *,
    on: str,
    names: Sequence[str],
    background: int = IGNORED,
) -> dict[str, dict[str, Any]]:
    """Label every pixel of the images by each probe and compare; scores of cells are interpolated, as segmenters do.

    Args:
        encoder: of the network.
        probes: by name.
        annotations: the images.
        images: which of them.
        on: name of the map.
        names: of the K classes.
        background: as in ``collect_pixels``.

    Returns: by probe, ``ConfusionMatrix.figures`` in percent.
    """
    matrices = {name: ConfusionMatrix(len(names), IGNORED) for name in probes}
    for index in images:
        image = read_image(annotations.path(index), annotations.stated_size(index))
        found = encoder.maps(image)[on]
        truth = label_map(annotations, index, found.size, background)
        rows = found.values.flatten(1).T.float().cpu()  # (h·w, C)
        for name, classify in probes.items():
            scores = classify(rows).T.reshape(len(names), *found.values.shape[1:])
            matrices[name].add(truth, found.at_pixels(scores).argmax(0).numpy())
    return {name: matrix.figures(names) for name, matrix in matrices.items()}


def _standardiser(features: Tensor) -> nn.Module:
    """Zero mean and unit deviation per channel, of these features; channels that never change become 0."""
    return _Standardise(features.mean(0), features.std(0, unbiased=False))


class _Standardise(nn.Module):
    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.mean, self.factor = mean, torch.where(std > 1e-8 * (1 + mean.abs()), 1 / std, torch.zeros_like(std))

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) * self.factor
