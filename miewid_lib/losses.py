"""The training loss: sub-center ArcFace, with a margin for each identity from its photo count."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from miewid_lib.errors import MiewidError

MARGIN_MAX_RAD = 0.32841442327915477  # published with the released weights, as is the scale
SCALE = 51.960399844266306
SHORTEST = 1e-12  # of a sub-center, as in torch's normalize
COSINE_LIMIT = 1 - 1e-7  # at exactly 1 the derivative of the angle is infinite


def dynamic_margins(
    class_counts: Sequence[int],
    *,
    margin_min_rad: float = 0.2,
    margin_max_rad: float = MARGIN_MAX_RAD,
) -> np.ndarray:
    """Margin of each class in radians: the fewer photos an identity has, the wider its margin.

    With t = n^(-1/4), m = min + (max - min) (t - min t) / (max t - min t), the margin of Ha et al.
    2020 stretched over [min, max]. Classes of equal size all get `margin_max_rad`. class_counts
    [C], each at least 1; returns float64 [C]. Raises MiewidError for counts or bounds that make
    no sense.

    >>> dynamic_margins([1, 16, 81], margin_min_rad=0.2, margin_max_rad=0.4)
    array([0.4 , 0.25, 0.2 ])
    """
    counts = np.asarray(class_counts)
    if counts.ndim != 1 or counts.size == 0 or not np.issubdtype(counts.dtype, np.integer):
        raise MiewidError(f"class_counts must be a list of integers, not {class_counts!r:.80}")
    if counts.min() < 1:
        row = int(counts.argmin())
        raise MiewidError(f"class_counts: class {row} has {counts[row]} photos; drop empty classes")
    if not 0 <= margin_min_rad <= margin_max_rad < math.pi:
        bounds = f"margin_min_rad={margin_min_rad}, margin_max_rad={margin_max_rad}"
        raise MiewidError(f"margins need 0 <= min <= max < pi, not {bounds}")
    rarity = counts.astype(float) ** -0.25  # t [C]
    span = rarity.max() - rarity.min()
    share = (rarity - rarity.min()) / span if span > 0 else np.ones_like(rarity)
    margins = margin_min_rad * (1 - share) + margin_max_rad * share  # exact at both ends
    return np.clip(margins, margin_min_rad, margin_max_rad)


class SubCenterArcFace(nn.Module):
    """Classifier on angles whose target class must win by a margin (Deng et al. 2019, 2020).

    Each class has k sub-centers and is as near as its nearest one, so that two looks of an animal
    (or a few wrong labels) need not share one direction. margins_rad: one margin for each class,
    [C], in [0, pi). `weight` is [C*k, D]; row c*k + j is sub-center j of class c.
    Raises MiewidError where sizes, margins or labels do not fit together.
    """

    def __init__(
        self,
        embedding_size: int,
        n_classes: int,
        *,
        n_subcenters: int = 3,
        scale: float = SCALE,
        margins_rad: Sequence[float],
    ):
        super().__init__()
        sizes = {"embedding_size": embedding_size, "n_classes": n_classes}
        for name, value in {**sizes, "n_subcenters": n_subcenters, "scale": scale}.items():
            if not 0 < value < math.inf:
                raise MiewidError(f"{name} must be positive, not {value}")
        margins = torch.as_tensor(margins_rad, dtype=torch.float32).detach().clone()
        if margins.shape != (n_classes,):
            shape = tuple(margins.shape)
            raise MiewidError(f"margins_rad has shape {shape}; {n_classes} classes need as many")
        if not bool(((margins >= 0) & (margins < math.pi)).all()):  # False for NaN too
            raise MiewidError("margins_rad must be finite, at least 0 and below pi")
        self.n_classes, self.n_subcenters, self.scale = n_classes, n_subcenters, scale
        self.weight = nn.Parameter(torch.empty(n_classes * n_subcenters, embedding_size))
        nn.init.uniform_(self.weight, -(embedding_size**-0.5), embedding_size**-0.5)
        self.register_buffer("margins_rad", margins)

    def cosines(self, features: torch.Tensor) -> torch.Tensor:
        """Cosine of features [B, D] to the nearest sub-center of each class, [B, C], float32."""
        size = self.weight.shape[1]
        if features.ndim != 2 or features.shape[1] != size:
            raise MiewidError(f"features have shape {tuple(features.shape)}, expected [B, {size}]")
        # bfloat16 has no numbers between 0.996 and 1, where the margin does its work
        with torch.autocast(features.device.type, enabled=False):
            precise = torch.promote_types(self.weight.dtype, torch.float32)
            unit = functional.normalize(features.to(precise))  # [B, D]
            cosines = _Cosines.apply(unit, self.weight.to(precise))  # [B, C*k]
        return cosines.unflatten(1, (self.n_classes, self.n_subcenters)).amax(2)  # [B, C]

    def logits(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Scaled cosines [B, C], the target's after its margin: s cos(theta + m).

        features [B, D] need not be normalised; labels [B] are integers in 0..C-1. Past
        theta = pi - m, where cos(theta + m) would rise again, it is s (cos theta - m sin m).
        """
        self._check(features, labels)
        cosines = self.cosines(features)  # [B, C]
        target = labels.long()[:, None]  # [B, 1]
        cos = cosines.gather(1, target)
        margin = self.margins_rad.to(cos.dtype)[target]  # [B, 1]
        # only the target column meets the sine, so no other cosine can spoil the gradient
        inside = cos.clamp(-COSINE_LIMIT, COSINE_LIMIT)
        turned = inside * margin.cos() - (1 - inside**2).sqrt() * margin.sin()
        penalised = torch.where(cos > -margin.cos(), turned, cos - margin * margin.sin())
        return self.scale * cosines.scatter(1, target, penalised)

    def forward(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean cross entropy of the batch, a float32 scalar."""
        logits, target = self.logits(features, labels), labels.long()[:, None]
        others = logits.scatter(1, target, -math.inf).logsumexp(1)  # [B]
        # the same as -log softmax, but exact too where the probability rounds to one
        return functional.softplus(others - logits.gather(1, target)[:, 0]).mean()

    def _check(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        if labels.is_floating_point() or labels.dtype == torch.bool:
            raise MiewidError(f"labels must be integers, not {labels.dtype}")
        if labels.shape != features.shape[:1] or not len(labels):
            shapes = f"labels {tuple(labels.shape)}, features {tuple(features.shape)}"
            raise MiewidError(f"one label for each of at least one feature is needed: {shapes}")
        low, high = torch.aminmax(labels)
        if low < 0 or high >= self.n_classes:
            allowed = f"0..{self.n_classes - 1}"
            raise MiewidError(f"labels run from {int(low)} to {int(high)}, not in {allowed}")


class _Cosines(torch.autograd.Function):
    """Cosines [B, R] of unit vectors [B, D] to the rows of a weight [R, D] of any length.

    Dividing the product by the lengths spares a normalised copy of the weight, and the gradient is
    made in one piece: with cosine c, length l and incoming g, it is (g x - g c w / l) / l, summed
    over the batch. That is all the memory and nearly all the time that many classes need.
    """

    @staticmethod
    def forward(ctx, unit, weight):
        """Divide the products by the lengths of the rows; the cosines to a zero row are 0."""
        lengths = torch.linalg.vector_norm(weight, dim=1).clamp(min=SHORTEST)  # [R]
        cosines = (unit @ weight.T).div_(lengths)
        ctx.save_for_backward(unit, weight, lengths, cosines)
        return cosines

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        """Turn the rows towards or from the vectors; a row's own direction has no gradient."""
        unit, weight, lengths, cosines = ctx.saved_tensors
        along = (gradient * cosines).sum(0) / lengths.square()  # [R]
        gradient = gradient / lengths
        with torch.autocast(gradient.device.type, enabled=False):
            for_unit = gradient @ weight if ctx.needs_input_grad[0] else None
            return for_unit, (weight * -along[:, None]).addmm_(gradient.T, unit)
