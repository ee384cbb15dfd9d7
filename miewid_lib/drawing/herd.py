"""Who is photographed when: individuals, encounters and faults of a species, drawn by lot."""

import zlib

import numpy as np

from miewid_lib.drawing.outlines import ANIMALS

SPREAD = 4.2  # the largest species has about this many times the annotations of the smallest
SIZES = {name: SPREAD ** (1 - rank / (len(ANIMALS) - 1)) for rank, name in enumerate((
    "plains zebra", "friesian cattle", "whale shark", "bottlenose dolphin", "giraffe",
    "green turtle", "tiger", "brown trout", "fire salamander", "leopard"))}  # fmt: skip
ENCOUNTER_SHARES = (0.52, 0.3, 0.13, 0.05)  # of 1 to 4 photos
FAULTS = ("truncated", "outside", "nameless", "blurred", "tiny")
FAULT_SHARE = 0.012  # of the photos
COMPANIONS = 0.08  # of the encounters show a second animal
BOTH_SIDES = 0.4  # of the individuals of a lateral species were seen from both sides


def generator(seed, *keys):
    """Return a Generator that depends on the seed and the keys (text or integers) alone."""
    return np.random.default_rng([seed, *(zlib.crc32(str(key).encode()) for key in keys)])


def plan(species, seed, n_annotations):
    """Return a species' encounters: dicts of individual, side, number, companion, images, faults.

    Photos an individual and side: log-normal, median 6, 2 to 24; encounters: 1 to 4 photos.
    """
    rng = generator(seed, species, "plan")
    encounters, total, individual = [], 0, 0
    while total * (1 + COMPANIONS) < n_annotations - 3:
        individual += 1
        for side in _sides(species, rng):
            left = int(np.clip(np.exp(rng.normal(np.log(6), 0.6)), 2, 24))
            total += left
            single = left < 5  # one photo an encounter, so that each has mates in other ones
            while left:
                photos = 1 if single else min(left, 1 + int(rng.choice(4, p=ENCOUNTER_SHARES)))
                left -= photos
                encounters.append({"individual": individual, "side": side, "photos": photos})
    return _number(encounters, rng)


def _sides(species, rng):
    """Return the sides on which an individual was photographed."""
    if not ANIMALS[species]["lateral"]:
        return ["left"] if ANIMALS[species]["kind"] == "fin" else ["up"]
    both = ["left", "right"] if rng.random() < 0.5 else ["right", "left"]
    return both if rng.random() < BOTH_SIDES else both[:1]


def _number(encounters, rng):
    """Return the encounters with numbers, images, faults and companions, all in random order."""
    n_photos = sum(encounter["photos"] for encounter in encounters)
    images = iter((rng.permutation(n_photos) + 1).tolist())
    faulty = (rng.permutation(n_photos)[: round(FAULT_SHARE * n_photos)] + 1).tolist()
    start = int(rng.integers(len(FAULTS)))
    fault = {image: FAULTS[(start + i) % len(FAULTS)] for i, image in enumerate(faulty)}
    numbers = (rng.permutation(len(encounters)) + 1).tolist()
    for number, encounter in zip(numbers, encounters, strict=True):
        others = {e["individual"] for e in encounters if e["side"] == encounter["side"]}
        others = sorted(others - {encounter["individual"]})
        pair = rng.random() < COMPANIONS and others
        encounter["companion"] = int(rng.choice(others)) if pair else None
        encounter["number"] = number
        encounter["images"] = [next(images) for _ in range(encounter["photos"])]
        encounter["faults"] = [fault.get(image) for image in encounter["images"]]
    return encounters
