"""Exact one-vs-rest: each photo asks all others; ranks, top-k and average precision.

The limit computes the same products of the embeddings and throws them away.
"""

import numpy as np

SIZE, PHOTOS_EACH = 2152, 6  # numbers an embedding (as the released network), photos an animal
WHOLE_MATRIX = 20_000  # photos; beyond, a whole matrix of cosines is refused
ROWS = 512


def inputs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings float32 [n, 2152] that know some animals, and identities [n].

    One photo in a hundred is the copy of another animal's: exact ties.
    """
    rng = np.random.default_rng(n)
    identities = rng.permutation(np.arange(n) // PHOTOS_EACH)
    animals = rng.standard_normal((n // PHOTOS_EACH + 1, SIZE), np.float32)
    photos = rng.standard_normal((n, SIZE), np.float32)
    for start in range(0, n, 4096):  # no second array of this size
        photos[start : start + 4096] += 0.3 * animals[identities[start : start + 4096]]
    copies = rng.choice(n, 2 * (n // 100), replace=False).reshape(2, -1)
    photos[copies[0]] = photos[copies[1]]
    return photos, identities


def oracle(similarity: np.ndarray, identities: np.ndarray) -> tuple[float, float]:
    """Top-1 and mAP from a whole matrix of cosines [N, N], everybody sorted for each query.

    Ties within 1e-6 are pessimistic, as in `one_vs_rest`.
    """
    hits, precisions = [], []
    for i, row in enumerate(similarity):
        others = np.delete(row, i)
        mate = np.delete(identities, i) == identities[i]
        if mate.any():
            order = np.argsort(-np.where(mate, others - 1e-6, others), kind="stable")
            found = np.flatnonzero(mate[order]) + 1.0  # ranks of the mates
            hits.append(found[0] == 1)
            precisions.append((np.arange(1, len(found) + 1) / found).mean())
    return float(np.mean(hits)), float(np.mean(precisions))


def _ours(folder, n):
    from miewid_lib import retrieval

    photos, identities = inputs(n)

    def work():
        table = retrieval.one_vs_rest(photos, identities)
        means = table[["top1", "average_precision"]].mean()
        return lambda: {"top1": means["top1"], "map": means["average_precision"]}

    return work


def _sorting(folder, n):
    photos, identities = _small(n)

    def work():
        vectors = photos / np.linalg.norm(photos, axis=1, keepdims=True)
        top1, precision = oracle(vectors @ vectors.T, identities)
        return lambda: {"top1": top1, "map": precision}

    return work


def _sklearn(folder, n):
    from sklearn.neighbors import NearestNeighbors

    photos, identities = inputs(n)

    def work():
        search = NearestNeighbors(n_neighbors=20, algorithm="brute", metric="cosine").fit(photos)
        nearest = search.kneighbors(return_distance=False)
        return lambda: {"top1": _top1(nearest[:, 0], identities)}

    return work


def _faiss(folder, n):
    import faiss

    photos, identities = inputs(n)

    def work():
        vectors = photos.copy()
        faiss.normalize_L2(vectors)
        index = faiss.IndexFlatIP(SIZE)
        index.add(vectors)
        _, nearest = index.search(vectors, 21)
        own = np.arange(n)
        first = np.where(nearest[:, 0] == own, nearest[:, 1], nearest[:, 0])
        return lambda: {"top1": _top1(first, identities)}

    return work


def _metric_learning(folder, n):
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    photos, identities = _small(n)
    names = ("precision_at_1", "mean_average_precision")
    scorer = AccuracyCalculator(include=names, k=None, device=torch.device("cpu"))
    photos, labels = torch.from_numpy(photos), torch.from_numpy(identities)

    def work():
        found = scorer.get_accuracy(torch.nn.functional.normalize(photos), labels)
        return lambda: dict(zip(("top1", "map"), (found[name] for name in names), strict=True))

    return work


def _wildlife_cosine(folder, n):
    from wildlife_tools.similarity import CosineSimilarity

    photos, _ = _small(n)

    def work():
        cosines = CosineSimilarity()(photos, photos)["cosine"]
        return lambda: {"pairs": int(cosines.size)}

    return work


def _wildlife_knn(folder, n):
    from wildlife_tools.inference import KnnClassifier
    from wildlife_tools.similarity import CosineSimilarity

    photos, identities = _small(n)

    def work():
        cosines = CosineSimilarity()(photos, photos)["cosine"]
        np.fill_diagonal(cosines, -1)
        said = KnnClassifier(k=1, database_labels=identities)(cosines)
        return lambda: {"top1": float(np.mean(said == identities))}

    return work


def _product(folder, n):
    photos, _ = inputs(n)

    def work():
        for start in range(0, n, max(ROWS, 2**22 // n)):
            photos[start : start + max(ROWS, 2**22 // n)] @ photos.T
        return dict

    return work


def _whole_product(folder, n):
    photos, _ = _small(n)

    def work():
        photos @ photos.T  # NumPy sees that this is symmetric and computes half
        return dict

    return work


def _small(n: int):
    if n > WHOLE_MATRIX:
        raise MemoryError(f"keeps a whole matrix of {n} x {n}")
    return inputs(n)


def _top1(nearest, identities) -> float:
    has_mate = np.bincount(identities)[identities] > 1
    return float((identities[nearest] == identities)[has_mate].mean())


OURS = {"miewid_lib one_vs_rest": _ours}
PEERS = {
    "NumPy, whole matrix, sort each row": _sorting,
    "scikit-learn NearestNeighbors (top 20 only)": _sklearn,
    "faiss-cpu IndexFlatIP (top 20 only)": _faiss,
    "pytorch-metric-learning AccuracyCalculator": _metric_learning,
    "wildlife-tools CosineSimilarity (cosines only)": _wildlife_cosine,
    "wildlife-tools KnnClassifier (top 1 only)": _wildlife_knn,
}
LIMITS = {
    "bare product, in blocks": _product,
    "bare symmetric product, whole matrix": _whole_product,
}
