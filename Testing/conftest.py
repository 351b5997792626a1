"""Heads of known truth that several test files share; each is rendered and prepared once."""

from __future__ import annotations

import os
from functools import cached_property

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from SkullGANLib.ct.phantom import LABELS, HeadPhantom
from SkullGANLib.ct.volume import Volume
from SkullGANLib.prepare.run import prepare_volume
from SkullGANLib.prepare.skull import skull_mask

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small networks gain nothing from a second thread, and lose much by load

AT_1_MM = {"shape": (200, 240, 240), "spacing_mm": (1.0, 1.0, 1.0)}
AT_2_MM = {"shape": (100, 120, 120), "spacing_mm": (2.0, 2.0, 2.0)}
VAULT = [LABELS[name] for name in ("outer_table", "diploe", "inner_table", "suture")]
NEITHER = [LABELS[name] for name in ("skull_base", "sinus")]  # bone all the same, so neither right nor wrong


class Trial:
    """A phantom, its scan, and what was made of it."""

    def __init__(self, seed: int, **scan) -> None:
        self.phantom = HeadPhantom(seed)
        self.head = self.phantom.render(**scan)
        self.volume, self.labels = self.head.volume, self.head.labels.hu

    @cached_property
    def prepared(self):
        return prepare_volume(self.volume)

    @cached_property
    def mask(self) -> np.ndarray:
        return skull_mask(self.volume, self.prepared.skull)

    @cached_property
    def vault(self) -> np.ndarray:
        """The true vault, bool as the volume."""
        return np.isin(self.labels, VAULT)

    def dice(self, mask: np.ndarray) -> float:
        """Agreement of a skull mask with the true vault."""
        found = mask & ~np.isin(self.labels, NEITHER)
        return 2 * (found & self.vault).sum() / (found.sum() + self.vault.sum())

    def frame_error(self, frame) -> tuple[float, float]:
        """Degrees and mm between a head frame and the true one."""
        error = np.linalg.inv(self.head.head_to_lps) @ frame.head_to_lps
        return np.rad2deg(Rotation.from_matrix(error[:3, :3]).magnitude()), np.linalg.norm(error[:3, 3])

    def along(self, prepared, step: int = 8) -> np.ndarray:
        """(kept, n, 3) true head-frame positions along the outer edge of each kept segment."""
        lines = [prepared.placements[i].points()[12, ::step] for i in np.flatnonzero(prepared.kept)]
        lps = prepared.skull.frame.to_lps(np.array(lines, float))
        back = np.linalg.inv(self.head.head_to_lps)
        return lps @ back[:3, :3].T + back[:3, 3]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Encoders that tests train stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKULLGAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def upright():
    return Trial(2, shape=(160, 225, 190), spacing_mm=(1.0, 1.0, 1.0))


@pytest.fixture(scope="session")
def turned():
    return Trial(5, rotation_deg=(20, 20, -20), **AT_1_MM)


@pytest.fixture(scope="session")
def filled():
    """Turned the other way, with metal fillings and their streaks."""
    return Trial(8, rotation_deg=(-20, -20, 20), metal=True, **AT_1_MM)


@pytest.fixture(scope="session", params=["upright", "filled", pytest.param("turned", marks=pytest.mark.slow)])
def trial(request):
    """Each of the heads at 1 mm."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def coarse():
    return Trial(3, **AT_2_MM)


@pytest.fixture(scope="session")
def make_trial():
    """A head of other seed, pose or sampling."""
    return Trial


@pytest.fixture(scope="session")
def capsule():
    """Scans of a hollow capsule about the front-back axis: its wall is equally thick everywhere.

    Outer half axes 75, 90 and 75 mm; each voxel shows the mean of what it holds.
    """

    def scan(thickness_mm: float, spacing_mm: float, wall_hu: float = 1500.0) -> Volume:
        half = np.array([82.0, 97.0, 82.0])
        n = (2 * half / spacing_mm).astype(int) + 1
        x, y, z = (np.arange(k) * spacing_mm - h for k, h in zip(n, half, strict=True))
        beyond = np.maximum(np.abs(y) - 15, 0)
        distance = np.sqrt(z[:, None, None] ** 2 + beyond[None, :, None] ** 2 + x[None, None, :] ** 2)
        wall = _share(75 - distance, spacing_mm) - _share(75 - thickness_mm - distance, spacing_mm)
        inside = _share(75 - thickness_mm - distance, spacing_mm)
        scalp = _share(81 - distance, spacing_mm) - _share(75 - distance, spacing_mm)
        hu = -1000 + wall * (wall_hu + 1000) + (inside + scalp) * 1040
        return Volume(np.rint(hu).astype(np.int16), (spacing_mm,) * 3, tuple(-half))

    return scan


def _share(depth_mm: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Part of a voxel that lies below a surface, by the distance of its centre from it."""
    return np.clip(depth_mm / spacing_mm + 0.5, 0, 1)


@pytest.fixture(scope="module")
def module():
    """The Slicer module, on the real MRML and without a panel."""
    import slicer_host

    slicer_host.start(gui=False)
    return slicer_host.load_module("SkullGAN")


@pytest.fixture
def logic(module):
    """The module's logic on an empty scene; a job that is left over is ended."""
    import slicer_host

    slicer_host.reset()
    logic = module.SkullGANLogic()
    yield logic
    if logic.busy:
        logic.job.kill()
