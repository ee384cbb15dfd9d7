import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from miewid_lib.errors import MiewidError
from miewid_lib.losses import MARGIN_MAX_RAD, SCALE, SubCenterArcFace, dynamic_margins

PARITY = Path(__file__).parent / "parity"
MARGINS = json.loads((PARITY / "dynamic_margins.json").read_text())["cases"]
ARCFACE = json.loads((PARITY / "subcenter_arcface.json").read_text())["cases"]


def named(cases):
    return [pytest.param(case, id=case["name"]) for case in cases]


def head_of(case):
    head = SubCenterArcFace(
        case["D"],
        case["C"],
        n_subcenters=case["k"],
        scale=case["s"],
        margins_rad=case["margins"],
    )
    with torch.no_grad():
        head.weight.copy_(torch.tensor(case["weight"]))
    features = torch.tensor(case["features"], requires_grad=True)
    return head, features, torch.tensor(case["labels"])


def logits_by_hand(features, weight, labels, margins, *, k, s):
    """The formula entry by entry, in plain Python floats."""
    result = []
    for x, label in zip(features, labels, strict=True):
        row = []
        for c, m in enumerate(margins):
            cosines = []
            for j in range(k):
                w = weight[c * k + j]
                dot = sum(a * b for a, b in zip(x, w, strict=True))
                cosines.append(dot / math.hypot(*x) / math.hypot(*w))
            cos = max(cosines)
            if c == label:
                theta = math.acos(cos)
                beyond = theta >= math.pi - m
                cos = cos - m * math.sin(m) if beyond else math.cos(theta + m)
            row.append(s * cos)
        result.append(row)
    return result


# margins


@pytest.mark.parametrize("case", named(c for c in MARGINS if not c["official_is_bug"]))
def test_margins_match_the_public_code(case):
    margins = dynamic_margins(
        case["class_counts"],
        margin_min_rad=case["margin_min"],
        margin_max_rad=case["margin_max"],
    )
    assert margins.dtype == np.float64
    np.testing.assert_allclose(margins, case["official_margins"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("counts", [[9], [1], [7, 7, 7], np.full(50, 3)])
def test_d2_equal_counts_give_the_widest_margin_not_nan(counts):
    assert dynamic_margins(counts).tolist() == [MARGIN_MAX_RAD] * len(counts)
    narrow = dynamic_margins(counts, margin_min_rad=0.1, margin_max_rad=0.5)
    assert narrow.tolist() == [0.5] * len(counts)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=30), st.randoms())
def test_d2_margins_are_inside_the_bounds_and_fall_with_the_count(counts, random):
    margins = dynamic_margins(counts)
    assert np.isfinite(margins).all()
    assert margins.max() == MARGIN_MAX_RAD
    assert margins.min() == (0.2 if len(set(counts)) > 1 else MARGIN_MAX_RAD)
    by_count = [m for _, m in sorted(zip(counts, margins, strict=True), key=lambda pair: pair[0])]
    assert (np.diff(by_count) <= 0).all()
    order = random.sample(range(len(counts)), len(counts))
    again = dynamic_margins([counts[i] for i in order])
    assert again.tolist() == margins[order].tolist()


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([], "list of integers"),
        ([[1, 2]], "list of integers"),
        ([1.5, 2.0], "list of integers"),
        ([3, 0, 5], "class 1 has 0 photos"),
        ([3, -2], "class 1 has -2 photos"),
    ],
)
def test_margins_refuse_impossible_counts(counts, message):
    with pytest.raises(MiewidError, match=message):
        dynamic_margins(counts)


@pytest.mark.parametrize(("low", "high"), [(0.4, 0.3), (-0.1, 0.3), (0.2, 4), (0.2, math.nan)])
def test_margins_refuse_impossible_bounds(low, high):
    with pytest.raises(MiewidError, match="0 <= min <= max < pi"):
        dynamic_margins([1, 2], margin_min_rad=low, margin_max_rad=high)


# loss


@pytest.mark.parametrize("case", named(ARCFACE))
def test_cosines_logits_and_loss_match_the_public_code(case):
    head, features, labels = head_of(case)
    with torch.no_grad():
        cosines, logits = head.cosines(features), head.logits(features, labels)
    # the clamp moves a target at exactly +1 by sin(m) sqrt(2e-7)
    room = 1e-2 if "target_cos_exact_plus1" in case["name"] else 1e-4
    np.testing.assert_allclose(cosines, case["cosine"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(logits, case["logits"], rtol=0, atol=room)
    if case["loss"] == "cross_entropy":
        loss = head(features, labels)
        assert loss.shape == ()
        assert loss.item() == pytest.approx(case["loss_value"], abs=5e-6)


@pytest.mark.parametrize("case", named(c for c in ARCFACE if c["loss"] == "cross_entropy"))
def test_gradients_match_the_reference(case):
    head, features, labels = head_of(case)
    head(features, labels).backward()
    pairs = [(features.grad, case["grad_features"]), (head.weight.grad, case["grad_weight"])]
    for ours, reference in pairs:
        assert torch.isfinite(ours).all()
        if case["name"] != "zero_feature_row":  # a zero vector has no direction to move in
            largest = np.abs(reference).max()
            np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-4 * largest)


def test_loss_is_the_mean_cross_entropy_for_one_class_and_for_many():
    torch.manual_seed(0)
    for n_classes in (1, 2, 500):
        head = SubCenterArcFace(8, n_classes, margins_rad=[0.3] * n_classes)
        features = torch.randn(16, 8, requires_grad=True)
        labels = torch.randint(n_classes, (16,))
        loss = head(features, labels)
        expected = torch.nn.functional.cross_entropy(head.logits(features, labels), labels)
        torch.testing.assert_close(loss, expected)
        ours = torch.autograd.grad(loss, [features, head.weight])
        theirs = torch.autograd.grad(expected, [features, head.weight])
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(2, 5), st.floats(0, 3), st.integers(0, 2**20)
)
def test_logits_match_the_formula_entry_by_entry(n_classes, k, size, widest, seed):
    rng = np.random.default_rng(seed)
    features, weight = rng.normal(size=(6, size)), rng.normal(size=(n_classes * k, size))
    labels, margins = rng.integers(n_classes, size=6), rng.uniform(0, widest, n_classes)
    head = SubCenterArcFace(size, n_classes, n_subcenters=k, scale=10, margins_rad=margins).double()
    with torch.no_grad():
        head.weight.copy_(torch.tensor(weight))
        logits = head.logits(torch.tensor(features), torch.tensor(labels))
    margins = head.margins_rad.tolist()
    expected = logits_by_hand(features, weight, labels, margins, k=k, s=10)
    # 1e-2: the clamp, felt when two vectors of few numbers happen to be parallel
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-2)
    typical = np.median(np.abs(logits.numpy() - np.array(expected)))
    assert typical < 1e-9


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("label", [0, 1])
def test_d3_cosines_of_exactly_one_leave_every_gradient_finite(sign, label):
    head = SubCenterArcFace(3, 2, n_subcenters=1, margins_rad=[0.3, 0.2])
    with torch.no_grad():
        head.weight.copy_(torch.eye(3)[:2])
    features = torch.tensor([[sign * 2, 0, 0], [0.1, 0.7, -0.3]], requires_grad=True)
    loss = head(features, torch.tensor([label, 1]))
    loss.backward()
    assert math.isfinite(loss.item())
    assert torch.isfinite(features.grad).all()
    assert torch.isfinite(head.weight.grad).all()
    assert head.weight.grad.abs().max() > 0


def test_d3_a_cosine_that_rounding_pushes_past_one_stays_finite():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(2000, 16, generator=generator)
    head = SubCenterArcFace(16, 2000, n_subcenters=1, margins_rad=torch.full((2000,), 0.3))
    with torch.no_grad():
        head.weight.copy_(vectors)
    own = head.cosines(vectors).diagonal()
    assert (own > 1).any()  # the premise of this test
    features = vectors[own > 1].clone().requires_grad_()
    labels = torch.arange(2000)[own > 1]
    for answer in (labels, (labels + 1) % 2000):  # past one for the target, and for another class
        loss = head(features, answer)
        loss.backward()
        assert math.isfinite(loss.item())
        assert torch.isfinite(features.grad).all()
        assert torch.isfinite(head.weight.grad).all()


def test_gradient_agrees_with_finite_differences():
    torch.manual_seed(0)
    head = SubCenterArcFace(4, 3, n_subcenters=2, scale=5, margins_rad=[0.5, 0.3, 1.5]).double()
    features = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 2, 2])
    assert torch.autograd.gradcheck(lambda x, _: head(x, labels), (features, head.weight))


def gradients_of(head, features, labels):
    head.weight.grad = None
    features = features.clone().requires_grad_()
    head(features, labels).backward()
    return features.grad, head.weight.grad


def test_gradients_are_those_of_normalised_subcenters_whatever_their_length():
    torch.manual_seed(0)
    head = SubCenterArcFace(12, 7, margins_rad=[0.3] * 7)
    with torch.no_grad():
        head.weight.mul_(torch.logspace(-3, 3, 21)[:, None])
    features, labels = torch.randn(9, 12), torch.arange(9) % 7
    ours = gradients_of(head, features, labels)

    def plain(features):
        rows = torch.nn.functional.normalize(head.weight)
        cosines = torch.nn.functional.normalize(features) @ rows.T
        return cosines.unflatten(1, (7, 3)).amax(2)

    head.cosines = plain
    for mine, expected in zip(ours, gradients_of(head, features, labels), strict=True):
        scale = expected.norm(dim=1, keepdim=True).clamp(min=1e-12)
        torch.testing.assert_close(mine / scale, expected / scale, atol=1e-5, rtol=0)


def test_a_subcenter_without_direction_stays_finite():
    torch.manual_seed(0)
    head = SubCenterArcFace(4, 3, margins_rad=[0.3] * 3)
    with torch.no_grad():
        head.weight[:3] = 0
    features, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 1, 0])
    assert (head.cosines(features)[:, 0] == 0).all()
    assert all(torch.isfinite(gradient).all() for gradient in gradients_of(head, features, labels))


def test_gradients_are_as_exact_inside_autocast():
    torch.manual_seed(0)
    head = SubCenterArcFace(32, 6, margins_rad=[0.3] * 6)
    features, labels = torch.randn(4, 32), torch.tensor([0, 1, 2, 5])
    expected = gradients_of(head, features, labels)
    with torch.autocast("cpu", torch.bfloat16):
        inside = gradients_of(head, features, labels)
    assert all(torch.equal(a, b) for a, b in zip(inside, expected, strict=True))


def test_features_that_do_not_learn_leave_the_gradient_of_the_weight_as_it_is():
    torch.manual_seed(0)
    head = SubCenterArcFace(8, 5, margins_rad=[0.3] * 5)
    features, labels = torch.randn(6, 8), torch.arange(6) % 5
    _, expected = gradients_of(head, features, labels)
    head.weight.grad = None
    head(features, labels).backward()
    assert torch.equal(head.weight.grad, expected)


def test_many_classes_cost_no_memory_but_logits_and_gradient():
    class Sizes(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.seen = {}

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                storage = result.untyped_storage()
                self.seen[storage.data_ptr()] = storage.nbytes()
            return result

    head = SubCenterArcFace(64, 500, margins_rad=[0.3] * 500)
    features, labels = torch.randn(4, 64, requires_grad=True), torch.arange(4)
    with Sizes() as sizes:
        loss = head(features, labels)
        loss.backward()
    whole = head.weight.numel() * 4
    large = {at for at, n_bytes in sizes.seen.items() if n_bytes > whole // 4}
    assert large == {head.weight.data_ptr(), head.weight.grad.data_ptr()}


def test_the_margin_touches_the_target_column_only():
    torch.manual_seed(0)
    features, labels = torch.randn(8, 5), torch.arange(8) % 4
    wide = SubCenterArcFace(5, 4, margins_rad=[0.4] * 4)
    none = SubCenterArcFace(5, 4, margins_rad=[0.0] * 4)
    none.weight = wide.weight
    with torch.no_grad():
        a, b = wide.logits(features, labels), none.logits(features, labels)
        target = torch.nn.functional.one_hot(labels, 4).bool()
        assert torch.equal(a[~target], b[~target])
        assert (a[target] < b[target]).all()
        assert wide(features, labels) > none(features, labels)
        cosines = none.cosines(features)
    torch.testing.assert_close(b, SCALE * cosines, atol=1e-3, rtol=0)


def test_weight_rows_are_class_by_class():
    head = SubCenterArcFace(6, 2, n_subcenters=3, margins_rad=[0.2, 0.2])
    with torch.no_grad():
        head.weight.copy_(torch.eye(6))
    cosines = head.cosines(torch.eye(6))
    expected = [[1, 0]] * 3 + [[0, 1]] * 3
    assert cosines.tolist() == expected


def test_start_is_uniform_and_the_state_is_weight_and_margins():
    torch.manual_seed(0)
    head = SubCenterArcFace(64, 20, margins_rad=dynamic_margins(range(1, 21)))
    assert head.weight.shape == (60, 64)
    assert head.weight.abs().max() <= 1 / 8
    assert head.weight.std().item() == pytest.approx(1 / 8 / math.sqrt(3), rel=0.05)
    assert set(head.state_dict()) == {"weight", "margins_rad"}
    assert [name for name, _ in head.named_parameters()] == ["weight"]
    assert head.margins_rad.dtype == torch.float32


def test_autocast_does_not_round_the_angles():
    torch.manual_seed(0)
    head = SubCenterArcFace(32, 6, margins_rad=[0.3] * 6)
    features, labels = torch.randn(4, 32).bfloat16(), torch.tensor([0, 1, 2, 5])
    with torch.no_grad():
        expected, loss = head.logits(features.float(), labels), head(features.float(), labels)
        with torch.autocast("cpu", torch.bfloat16):
            inside, loss_inside = head.logits(features, labels), head(features, labels)
    assert inside.dtype == loss_inside.dtype == torch.float32
    assert torch.equal(inside, expected)
    assert torch.equal(loss_inside, loss)


def test_features_of_any_length_give_the_same_loss():
    torch.manual_seed(0)
    head = SubCenterArcFace(8, 3, margins_rad=[0.3] * 3)
    features, labels = torch.randn(5, 8), torch.tensor([0, 1, 2, 0, 1])
    torch.testing.assert_close(head(features * 1000, labels), head(features, labels))


def test_it_learns_to_tell_three_animals_apart():
    torch.manual_seed(0)
    labels = torch.arange(30) % 3
    features = torch.nn.functional.one_hot(labels, 8) + 0.1 * torch.randn(30, 8)
    head = SubCenterArcFace(8, 3, scale=10, margins_rad=dynamic_margins([10, 10, 10]))
    optimiser = torch.optim.Adam(head.parameters(), lr=0.05)
    first = head(features, labels).item()
    for _ in range(60):
        optimiser.zero_grad()
        head(features, labels).backward()
        optimiser.step()
    assert head(features, labels).item() < 0.05 < first
    assert (head.cosines(features).argmax(1) == labels).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 3], r"run from 0 to 3, not in 0\.\.2"),
        ([-1, 2], r"run from -1 to 2, not in 0\.\.2"),
        ([0.0, 1.0], "must be integers"),
        ([True, False], "must be integers"),
        ([0], "one label for each"),
        ([[0], [1]], "one label for each"),
    ],
)
def test_wrong_labels_are_refused(labels, message):
    head = SubCenterArcFace(4, 3, margins_rad=[0.2] * 3)
    with pytest.raises(MiewidError, match=message):
        head(torch.ones(2, 4), torch.tensor(labels))


def test_wrong_shapes_and_empty_batches_are_refused():
    head = SubCenterArcFace(4, 3, margins_rad=[0.2] * 3)
    with pytest.raises(MiewidError, match=r"\(2, 5\), expected \[B, 4\]"):
        head(torch.ones(2, 5), torch.tensor([0, 1]))
    with pytest.raises(MiewidError, match="at least one feature"):
        head(torch.ones(0, 4), torch.zeros(0, dtype=torch.long))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"margins_rad": [0.2] * 2}, "3 classes need as many"),
        ({"margins_rad": 0.2}, "3 classes need as many"),
        ({"margins_rad": [0.2, math.nan, 0.2]}, "finite"),
        ({"margins_rad": [0.2, -0.1, 0.2]}, "finite"),
        ({"n_subcenters": 0}, "n_subcenters must be positive"),
        ({"scale": math.inf}, "scale must be positive"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    with pytest.raises(MiewidError, match=message):
        SubCenterArcFace(4, 3, **{"margins_rad": [0.2] * 3, **change})
