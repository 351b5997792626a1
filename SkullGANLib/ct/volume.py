"""A CT volume: Hounsfield units and where they lie in the patient."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True, eq=False)
class Volume:
    """Hounsfield units on a regular grid.

    Attributes:
        hu: (slice, row, column) array, int16 or float32; for a label map uint8.
        spacing_mm: distance between voxel centres along (column, row, slice), SimpleITK's order (x, y, z).
        origin_mm: LPS position of the centre of voxel (0, 0, 0).
        direction: (3, 3); column k is the LPS unit vector along which index axis (column, row, slice)[k] runs.
        acquisition: technical facts of the scan (modality, kernel, kvp, manufacturer, ...); nothing of the patient.
        notes: sentences a user should read, such as a resampling that was needed or values that look shifted.
    """

    hu: np.ndarray
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: np.ndarray = field(default_factory=lambda: np.eye(3))
    acquisition: dict[str, str | float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, rows, columns)."""
        return self.hu.shape

    @property
    def extents_mm(self) -> tuple[float, float, float]:
        """Size along (slice, row, column), whole voxels."""
        return tuple(n * mm for n, mm in zip(self.shape, self.spacing_mm[::-1], strict=True))

    @property
    def index_to_lps(self) -> np.ndarray:
        """(4, 4) matrix from (column, row, slice, 1) to LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(self.direction) * np.asarray(self.spacing_mm)
        matrix[:3, 3] = self.origin_mm
        return matrix

    def lps_to_zyx(self, points_mm: np.ndarray) -> np.ndarray:
        """Continuous array indices of LPS points.

        Args:
            points_mm: (..., 3) LPS mm.

        Returns:
            (..., 3) indices in array order (slice, row, column), as ``scipy.ndimage.map_coordinates`` takes them.
        """
        inverse = np.linalg.inv(self.index_to_lps)
        return (np.asarray(points_mm) @ inverse[:3, :3].T + inverse[:3, 3])[..., ::-1]

    def zyx_to_lps(self, indices: np.ndarray) -> np.ndarray:
        """LPS mm of continuous array indices (..., 3) in the order (slice, row, column)."""
        matrix = self.index_to_lps
        return np.asarray(indices, float)[..., ::-1] @ matrix[:3, :3].T + matrix[:3, 3]

    def part(self, first: tuple[int, int, int], last: tuple[int, int, int]) -> Volume:
        """The box between two voxels (slice, row, column), both included, where it lies in the patient.

        Raises:
            ValueError: it is empty, or not within the volume.
        """
        ends = list(zip(first, last, self.shape, strict=True))
        if not all(0 <= a <= b < n for a, b, n in ends):
            raise ValueError(f"no box within {self.shape}")
        origin_mm = tuple(self.zyx_to_lps(np.array(first)).tolist())
        return replace(self, hu=self.hu[tuple(slice(a, b + 1) for a, b, _ in ends)], origin_mm=origin_mm)

    def with_array(self, hu: np.ndarray) -> Volume:
        """The same geometry around another array of the same shape."""
        return replace(self, hu=hu)

    def to_sitk(self) -> sitk.Image:
        """The volume as a SimpleITK image (copies the array)."""
        import SimpleITK as sitk

        image = sitk.GetImageFromArray(self.hu)
        image.SetSpacing([float(s) for s in self.spacing_mm])
        image.SetOrigin([float(o) for o in self.origin_mm])
        image.SetDirection([float(d) for d in np.asarray(self.direction).ravel()])
        return image

    @classmethod
    def from_sitk(cls, image: sitk.Image, **facts) -> Volume:
        """A volume from a 3-D scalar SimpleITK image; ``facts`` are further fields of the class."""
        import SimpleITK as sitk

        return cls(
            hu=sitk.GetArrayFromImage(image),
            spacing_mm=image.GetSpacing(),
            origin_mm=image.GetOrigin(),
            direction=np.array(image.GetDirection()).reshape(3, 3),
            **facts,
        )
