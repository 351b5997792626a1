"""The skull vault as two surfaces seen from inside the head: distance of the outer and of the inner bone edge.

A vault is star-shaped about a point in the middle of the head, so two distance maps over directions describe it with
sub-voxel accuracy at any voxel size, diploe and porous bone are inside by construction, and nothing that lies in the
cavity or outside the head can enter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

STEP_DEG = 0.75


@dataclass(frozen=True)
class PolarGrid:
    """Directions of the head frame by (psi, phi).

    psi runs around the front-back axis (0 up, positive to the left), phi from front (-90 degrees) to back, so that
    the two poles lie on the forehead and the occiput and the temporal and parietal bones are evenly sampled.
    """

    step_deg: float = STEP_DEG

    @property
    def shape(self) -> tuple[int, int]:
        """(number of psi, number of phi)."""
        return round(360 / self.step_deg), round(180 / self.step_deg)

    def directions(self) -> np.ndarray:
        """(psi, phi, 3) unit vectors."""
        rows, columns = self.shape
        psi = np.deg2rad((np.arange(rows) - rows // 2) * self.step_deg)[:, None]
        phi = np.deg2rad((np.arange(columns) + 0.5) * self.step_deg - 90)[None, :]
        return np.stack([np.sin(psi) * np.cos(phi), np.sin(phi) + 0 * psi, np.cos(psi) * np.cos(phi)], axis=-1)

    def coordinates(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, column and distance of head-frame points (..., 3), float32."""
        x, y, z = np.moveaxis(np.asarray(points, np.float32), -1, 0)
        rows, _ = self.shape
        radius = np.sqrt(x * x + y * y + z * z)
        row = np.rad2deg(np.arctan2(x, z)) / self.step_deg + rows // 2
        with np.errstate(invalid="ignore", divide="ignore"):
            column = (np.rad2deg(np.arcsin(np.clip(y / radius, -1, 1))) + 90) / self.step_deg - 0.5
        return row.astype(np.float32), np.nan_to_num(column).astype(np.float32), radius

    def lookup(self, values: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Bilinear values of a (psi, phi) map at rows and columns of any shape; psi goes round."""
        import cv2

        flat_row, flat_column = row.reshape(1, -1) + 1, np.clip(column.reshape(1, -1), 0, values.shape[1] - 1)
        result = np.empty(flat_row.shape, np.float32)
        image = np.pad(np.asarray(values, np.float32), ((1, 1), (0, 0)), mode="wrap")
        for start in range(0, flat_row.size, 30_000):  # cv2.remap takes images of up to 32,767 columns
            part = np.s_[:, start : start + 30_000]
            result[part] = cv2.remap(image, flat_column[part], flat_row[part], cv2.INTER_LINEAR)
        return result.reshape(row.shape)


@dataclass(frozen=True, eq=False)
class Shell:
    """Outer and inner edge of the vault.

    Attributes:
        grid: the directions.
        outer_mm: (psi, phi) float32 distance of the outer edge from the origin of the head frame.
        inner_mm: (psi, phi) float32 distance of the inner edge.
        covered: (psi, phi) bool; where there is vault.
        trusted: (psi, phi) bool; where the edges were seen in the scan and do not stand in from their neighbours.
    """

    grid: PolarGrid
    outer_mm: np.ndarray
    inner_mm: np.ndarray
    covered: np.ndarray
    trusted: np.ndarray

    def contains(self, points: np.ndarray) -> np.ndarray:
        """True for head-frame points (..., 3) inside the bone."""
        row, column, radius = self.grid.coordinates(points)
        inside = radius <= self.grid.lookup(self.outer_mm, row, column)
        inside &= radius >= self.grid.lookup(self.inner_mm, row, column)
        return inside & (self.grid.lookup(self.covered, row, column) > 0.5)

    def at(self, values: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Bilinear values of a (psi, phi) map on the rays of head-frame points (..., 3)."""
        row, column, _ = self.grid.coordinates(points)
        return self.grid.lookup(values, row, column)

    @cached_property
    def normals(self) -> np.ndarray:
        """(psi, phi, 3) outward unit normals of the outer surface."""
        points = self.grid.directions() * self.outer_mm[..., None]
        along_psi = np.gradient(points, axis=0)
        along_phi = np.gradient(points, axis=1)
        normal = np.cross(along_phi, along_psi)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
        return normal * np.sign(np.sum(normal * points, axis=-1, keepdims=True))
