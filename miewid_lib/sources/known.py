"""What has to be known of public data sets that the package wildlife-datasets can read.

Licence, size of the download and publication are those that wildlife-datasets 1.0.8 states, None
where it states none; what is lateral and what counts as a sighting is decided here. No photo of
any of them is part of this project.
"""

from typing import NamedTuple

_WHO = {  # the longer short citations
    "nyala": "Dlamini and van Zyl 2020, doi:10.1109/ISCMI51676.2020.9311574",
    "beluga": "Beluga ID 2022, lila.science/datasets/beluga-id-2022",
    "hyena": "Hyena ID 2022, lila.science/datasets/hyena-id-2022",
    "leopard": "Leopard ID 2022, lila.science/datasets/leopard-id-2022",
}
_CDLA = "Community Data License Agreement - Permissive"


class Known(NamedTuple):
    """One data set: its species, how its frame is read, and what its users have to know."""

    species: str
    lateral: bool  # left and right carry different patterns, for `annotations.set_identity`
    viewpoint: str | None  # column of the frame, or `path:` and a pattern with one group
    encounter: str | None  # the same; of a column `date` the day counts as one sighting
    licence: str | None  # None: no licence is stated, which grants nothing
    citation: str | None
    download_mb: int | None


_NYALA_SIGHTING = r"path:/(\d+)_[^/]*$"  # 14_leftphoto.jpg: sighting 14
_LION_SIDE = r"path:_(left|right)[_.][^/]*$"  # Naibor_Right_Body.png

KNOWN = {
    "LionData": Known("lion", True, _LION_SIDE, None, None, _WHO["nyala"], 495),
    "NyalaData": Known("nyala", True, "orientation", _NYALA_SIGHTING, None, _WHO["nyala"], 495),
    "OpenCows2020": Known(
        species="holstein friesian cattle",
        lateral=False,  # seen from above
        viewpoint=None,
        encounter=None,
        licence="Non-Commercial Government Licence for public sector information",
        citation="Andrew et al. 2021, Computers and Electronics in Agriculture 185, 106133",
        download_mb=2272,
    ),
    "BelugaID": Known("beluga whale", False, "orientation", "date", _CDLA, _WHO["beluga"], 590),
    "StripeSpotter": Known(
        species="zebra",
        lateral=True,
        viewpoint="orientation",
        encounter="date",
        licence="Attribution-ShareAlike 3.0 Unported",
        citation="Lahiri et al. 2011, doi:10.1145/1991996.1992002",
        download_mb=229,
    ),
    "ATRW": Known(
        species="amur tiger",
        lateral=True,
        viewpoint=None,
        encounter=None,
        licence="Attribution-NonCommercial-ShareAlike 4.0 International",
        citation="Li et al. 2019, arXiv 1906.05586",
        download_mb=1760,
    ),
    "CTai": Known(
        species="chimpanzee",
        lateral=False,
        viewpoint=None,
        encounter=None,
        licence="Other",
        citation="Freytag et al. 2016, doi:10.1007/978-3-319-45886-1_5",
        download_mb=634,
    ),
    "MacaqueFaces": Known(
        "rhesus macaque", False, None, "date", "Other", "Witham 2018, PII S0165027017302637", 12
    ),
    "Giraffes": Known(
        "giraffe", True, None, "date", None, "Miele et al. 2021, doi:10.1111/2041-210X.13577", 1719
    ),
    "WhaleSharkID": Known(
        species="whale shark",
        lateral=True,
        viewpoint="orientation",
        encounter="date",
        licence=_CDLA,
        citation="Holmberg et al. 2009, Endangered Species Research 7, 39-53",
        download_mb=6466,
    ),
    "HyenaID2022": Known("spotted hyena", True, "orientation", "date", _CDLA, _WHO["hyena"], 3441),
    "LeopardID2022": Known("leopard", True, "orientation", "date", _CDLA, _WHO["leopard"], 8565),
    "SeaTurtleID2022": Known(
        "loggerhead turtle", True, "orientation", "date", "Other", "Adam et al. 2024, WACV", 2000
    ),
    "ZindiTurtleRecall": Known(
        species="sea turtle",
        lateral=True,
        viewpoint="orientation",
        encounter=None,
        licence="Attribution-ShareAlike 4.0 International (CC BY-SA 4.0)",
        citation="Zindi, Turtle Recall: Conservation Challenge 2022",
        download_mb=6482,
    ),
    "IPanda50": Known(
        "giant panda", False, None, None, None, "Wang et al. 2021, IEEE document 9347819", 929
    ),
}
"""Class of wildlife-datasets -> what is known of it."""
