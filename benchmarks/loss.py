"""The loss head with many animals, forward and backward: 16 photos, 2,152 numbers, 3 sub-centers.

The limit is the product of features and sub-centers and the two products of its gradient.
"""

import math

import torch

BATCH, SIZE, SUBCENTERS, MARGIN_RAD, SCALE = 16, 2152, 3, 0.3284, 51.96


def _batch(n_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    features = torch.randn(BATCH, SIZE, generator=draws).requires_grad_()
    return features, torch.randint(n_classes, (BATCH,), generator=draws)


def _ours(folder, n_classes):
    from miewid_lib.losses import SubCenterArcFace

    features, labels = _batch(n_classes)
    margins = torch.full((n_classes,), MARGIN_RAD)
    head = SubCenterArcFace(SIZE, n_classes, n_subcenters=SUBCENTERS, margins_rad=margins)

    def work():
        logits = head.logits(features, labels)  # as training.fit asks it
        torch.nn.functional.cross_entropy(logits, labels).backward()
        return dict

    return work


def _metric_learning(folder, n_classes):
    from pytorch_metric_learning.losses import SubCenterArcFaceLoss

    features, labels = _batch(n_classes)
    sizes = {"num_classes": n_classes, "embedding_size": SIZE, "sub_centers": SUBCENTERS}
    head = SubCenterArcFaceLoss(margin=math.degrees(MARGIN_RAD), scale=SCALE, **sizes)

    def work():
        head(features, labels).backward()
        return dict

    return work


def _product(folder, n_classes):
    features, _ = _batch(n_classes)
    features, weight = features.detach(), torch.randn(n_classes * SUBCENTERS, SIZE)

    def work():
        gradient = torch.ones_like(features @ weight.T)
        _ = gradient @ weight, gradient.T @ features  # gradients of features and of sub-centers
        return dict

    return work


OURS = {"miewid_lib SubCenterArcFace": _ours}
PEERS = {"pytorch-metric-learning SubCenterArcFaceLoss": _metric_learning}
LIMITS = {"bare products": _product}
