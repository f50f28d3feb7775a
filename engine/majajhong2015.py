"""Brain-Score's public recordings of macaque V4 and IT (Majaj, Hong et al. 2015): their files and what is known.

Brain-Score publishes the part with variations 0 and 3: 3,200 images. The 2,560 images of variation 6, with which Arend
et al. (2018) computed their numbers, are its private part and cannot be had here.

Addresses, versions and SHA-1 are those of ``brainscore_vision/data/majajhong2015/__init__.py`` in
github.com/brain-score/vision (commit 36f5eb9); the form of an address is that of its ``data_helpers/s3.py``. UNTESTED:
the download itself was never tried against the publisher, only against a server of our own with other files.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

COLLECTION: Final = "majajhong2015"
BASE_ADDRESS: Final = "https://brainio-brainscore.s3.amazonaws.com"
ASSEMBLY: Final = "dicarlo.MajajHong2015.public"
STIMULUS_SET: Final = "dicarlo.hvm-public"
CITATION: Final = (
    "Majaj, Hong, Solomon and DiCarlo, Simple learned weighted sums of inferior temporal neuronal firing rates "
    "accurately predict human core object recognition performance, J Neurosci 35 (2015), "
    "doi 10.1523/JNEUROSCI.5181-14.2015"
)
LICENCE: Final = "not stated by the publisher"
SOURCE: Final = f"{CITATION}; Brain-Score assembly {ASSEMBLY}"
HOLDS: Final = (
    "variations 0 and 3 (3,200 images); the 2,560 images of variation 6, those of Arend et al. 2018, are not public"
)
NOTICE: Final = (
    f"{COLLECTION}: macaque V4 and IT, Brain-Score's public assembly {ASSEMBLY}: {HOLDS}. If you use it, "
    f"cite {CITATION}. Licence: {LICENCE}. From {BASE_ADDRESS}, checked by the SHA-1 that Brain-Score lists."
)
SIZE_DEG: Final = 8.0
"""Width of an image, as Brain-Score's benchmark states it (``VISUAL_DEGREES``)."""

SITES: Final = {"V4": 88, "IT": 168}
N_STIMULI: Final = 3200


@dataclass(frozen=True)
class PublishedFile:
    """One file: its name at the publisher and here, the version there, and its SHA-1."""

    name: str
    version: str
    sha1: str

    @property
    def address(self) -> str:
        """Where it is published, with the version of the file that the SHA-1 is of."""
        return f"{BASE_ADDRESS}/{self.name}?versionId={self.version}"

    def is_at(self, path: Path) -> bool:
        """Return whether ``path`` is this file, by its SHA-1."""
        return path.is_file() and sha1_of(path) == self.sha1


FILES: Final = (
    PublishedFile(
        "assy_dicarlo_MajajHong2015_public.nc",
        "LZWj2qjAwZKdmHdTGftpBPSO6oq.y9Q7",
        "13d28ca0ce88ee550b54db3004374ae19096e9b9",
    ),
    PublishedFile(
        "image_dicarlo_hvm-public.csv",
        "PxkMLFgPqRM7wOe3tBfwsXI3pfB49RPR",
        "5ca7a3da00d8e9c694a9cd725df5ba0ad6d735af",
    ),
    PublishedFile(
        "image_dicarlo_hvm-public.zip",
        "UzgkNOtIWMXaMN7vUA0FVemXLTvdtH13",
        "8aa44e038d7b551efa8077467622f9d48d72e473",
    ),
)
"""Assembly, table of the stimuli, images."""


def sha1_of(path: Path) -> str:
    """Return the SHA-1 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()
