"""Painting the heart phantom slice by slice: chest wall, lungs, bones, vessels, and last the heart."""

from __future__ import annotations

import math

import numpy as np

from SkullGANLib.ct.heart_chest import AIR, CORTEX_MM, FAT, MUSCLE, SKIN, Chest
from SkullGANLib.ct.heart_parts import HEART_LABELS, VESSEL_WALL_MM, Heart
from SkullGANLib.ct.phantom_canvas import Canvas, Tube
from SkullGANLib.ct.phantom_fields import Noise3D

LAYER_MM = 1.2
PERICARDIUM_TOP_MM = 45.0
FAR_MM = np.float32(60.0)
LIVER_HU, ABDOMEN_HU, PAPILLARY_SHARE = 105.0, 60.0, 0.35
GRAVITY_HU_PER_MM = 0.45  # lung is denser at the back of who lies on it
FINE_LUNG_HU, CLOUDS_HU = 45.0, 22.0
CONTRAST_MIXING = {  # standard deviation of the uneven mixing of contrast and blood, as a share
    "left ventricle": 0.02,
    "left atrium": 0.02,
    "aorta": 0.01,
    "pulmonary artery": 0.03,
    "right ventricle": 0.05,
    "right atrium": 0.10,
}


class HeartPainter:
    """Paints one scan; ``paint`` may run in several threads, each on its own slices.

    Args:
        heart, chest: the subject.
        seed: of the texture.
        chest_to_lps: (4, 4) pose.
        index_to_lps: (4, 4) from (column, row, slice) to LPS mm.
    """

    def __init__(
        self, heart: Heart, chest: Chest, seed: int, chest_to_lps: np.ndarray, index_to_lps: np.ndarray
    ) -> None:
        self.heart, self.chest = heart, chest
        self._to_chest = np.linalg.inv(chest_to_lps) @ index_to_lps
        self._voxel_mm = float(np.linalg.norm(index_to_lps[:3, 0]))
        self._layers = max(1, math.ceil(float(np.linalg.norm(index_to_lps[:3, 2])) / LAYER_MM - 1e-6))
        self._noise = Noise3D(np.random.default_rng([seed, 14]), 1.6)
        ends = np.array([vessel.bounds() for vessel in chest.vessels])  # (n, 2, 3)
        self._vessel_middles, self._vessel_halves = ends.mean(1), (ends[:, 1] - ends[:, 0]) / 2 + self._voxel_mm
        p = heart.parameters
        right = p.right_share * p.left_hu
        self._blood = {
            "left ventricle": p.left_hu,
            "left atrium": 1.02 * p.left_hu,
            "aorta": 1.03 * p.left_hu,
            "right ventricle": max(right, 130.0),
            "right atrium": max(0.95 * right, 120.0),
            "pulmonary artery": max(0.5 * (right + p.left_hu), 160.0),
        }

    def paint(self, hu: np.ndarray, labels: np.ndarray, first: int, last: int) -> None:
        """Fill slices ``first`` to ``last`` (exclusive) of the arrays (slice, row, column)."""
        shape = (last - first, *hu.shape[1:])
        hu[first:last] = 0
        centre = (self._layers - 1) / 2
        for layer in range(self._layers):
            offset = (layer - centre) / self._layers
            canvas = self._canvas(shape, first + offset)
            self._paint(canvas)
            hu[first:last] += canvas.hu / np.float32(self._layers)
            if offset == 0:
                labels[first:last] = canvas.labels
        if self._layers % 2 == 0:
            canvas = self._canvas(shape, first)
            labels[first:last] = self._labels_only(canvas)

    def _canvas(self, shape: tuple[int, int, int], first: float) -> Canvas:
        place = self._to_chest.astype(np.float32)
        k, j, i = (np.arange(n, dtype=np.float32) for n in shape)
        k = k + np.float32(first)
        points = np.empty((3, *shape), np.float32)
        for axis in range(3):
            column = place[axis, 0] * i + place[axis, 3]
            points[axis] = column + (place[axis, 1] * j)[:, None] + (place[axis, 2] * k)[:, None, None]
        to_index = np.linalg.inv(self._to_chest)[[2, 1, 0, 3]]
        to_index[0, 3] -= first
        return Canvas(points, np.full(shape, AIR, np.float32), np.zeros(shape, np.uint8), to_index, self._voxel_mm)

    def _paint(self, canvas: Canvas) -> None:
        sac = np.full(canvas.hu.shape, FAR_MM, np.float32)
        block = canvas.within(*self.heart.bounds())
        solids = None
        if block is not None:
            solids = self.heart.solids(block.points)
            np.minimum(solids["sac"], FAR_MM, out=sac[block.place])
        self._paint_chest(canvas, sac)
        vessels = [*self.heart.veins, ("aorta", self.heart.descending)]
        for _, vessel in vessels:
            _paint_tube(canvas, vessel, -VESSEL_WALL_MM, MUSCLE)
        if block is not None:
            self._paint_walls(block, solids)
        for name, vessel in vessels:
            _paint_tube(canvas, vessel, 0.0, self._blood[name])
        if block is not None:
            self._paint_blood(block, solids)

    def _labels_only(self, canvas: Canvas) -> np.ndarray:
        block = canvas.within(*self.heart.bounds())
        if block is not None:
            solids = self.heart.solids(block.points)
            for value, name in HEART_LABELS.items():
                block.labels[solids[name] < 0] = value
        return canvas.labels

    def _paint_chest(self, canvas: Canvas, sac: np.ndarray) -> None:
        chest, points, p = self.chest, canvas.points, self.heart.parameters
        skin, cage = chest.skin(points), chest.cage(points)
        canvas.paint(skin, SKIN, None)
        canvas.paint(skin + 2, FAT, None)
        canvas.paint(np.maximum(chest.muscle(points, cage), skin + 4), MUSCLE, None)
        canvas.paint(cage - np.float32(1.2), FAT, None)
        mediastinum = chest.mediastinum(points, sac, cage)
        lung = np.maximum(cage, -mediastinum)
        fine = self._noise.at(*points)
        clouds = self._noise.at(*points, scale=9.0)
        air = p.lung_hu + GRAVITY_HU_PER_MM * points[1] + CLOUDS_HU * clouds + FINE_LUNG_HU * fine
        canvas.paint(lung, air, None)
        self._paint_lung_vessels(canvas, lung)
        liver, left = chest.abdomen(points)
        for organ, hu in ((left, ABDOMEN_HU), (liver, LIVER_HU)):
            under = np.maximum(np.maximum(organ, cage), -1 - sac)
            canvas.paint(under, hu + 4 * clouds, None)
        for distance, cortex, marrow in chest.bones(points, cage):
            distance = np.maximum(distance, skin + 6)
            canvas.paint(distance, cortex, None)
            if marrow != cortex:
                canvas.paint(distance + np.float32(CORTEX_MM), marrow * (1 + 0.25 * fine), None)
        canvas.paint(chest.cord(points), 30.0, None)
        _paint_tube(canvas, chest.oesophagus, 0.0, 45.0)
        _paint_tube(canvas, chest.oesophagus, 5.2, -600.0)
        for airway in (*chest.bronchi, chest.trachea):
            _paint_tube(canvas, airway, -1.4, MUSCLE)
        for airway in (*chest.bronchi, chest.trachea):
            _paint_tube(canvas, airway, 0.0, AIR + 15)

    def _paint_lung_vessels(self, canvas: Canvas, lung: np.ndarray) -> None:
        hu = (self._blood["pulmonary artery"], self._blood["left atrium"])
        to_index, shift = canvas.to_index[:3, :3], canvas.to_index[:3, 3]
        middles, reach = self._vessel_middles @ to_index.T + shift, self._vessel_halves @ np.abs(to_index).T
        here = ((middles + reach >= 0) & (middles - reach <= np.array(canvas.hu.shape) - 1)).all(axis=1)
        for number in np.flatnonzero(here):
            vessel = self.chest.vessels[number]
            block = canvas.within(*vessel.bounds())
            if block is not None:
                block.paint(np.maximum(vessel.distance(block.points), lung[block.place]), hu[number % 2], None)

    def _paint_walls(self, canvas: Canvas, solids: dict[str, np.ndarray]) -> None:
        pericardium = np.maximum(np.abs(solids["sac"] + 1) - np.float32(0.6), canvas.points[2] - PERICARDIUM_TOP_MM)
        canvas.paint(pericardium, 25.0, None)
        canvas.paint(solids["wall"], self.heart.parameters.myocardium_hu, None)
        for artery in self.heart.coronaries:
            _paint_tube(canvas, artery, -0.7, 30.0)
            _paint_tube(canvas, artery, 0.0, self._blood["aorta"])

    def _paint_blood(self, canvas: Canvas, solids: dict[str, np.ndarray]) -> None:
        p, points = self.heart.parameters, canvas.points
        mixing = self._noise.at(*points, scale=8.0)
        for value, name in HEART_LABELS.items():
            hu = p.myocardium_hu + 6 * mixing
            if name != "myocardium":
                hu = self._blood[name] * (1 + np.float32(CONTRAST_MIXING[name]) * mixing)
            canvas.paint(solids[name], hu, value)
        muscle = np.maximum(self.heart.papillary(points), solids["left ventricle"])
        blood = self._blood["left ventricle"]
        canvas.paint(muscle, p.myocardium_hu + PAPILLARY_SHARE * (blood - p.myocardium_hu), None)


def _paint_tube(canvas: Canvas, tube: Tube, inside_mm: float, hu: float) -> None:
    """Paint what lies at least ``inside_mm`` within a tube; negative for a coat around it."""
    low, high = tube.bounds()
    block = canvas.within(low + min(inside_mm, 0), high - min(inside_mm, 0))
    if block is not None:
        block.paint(tube.distance(block.points) + np.float32(inside_mm), hu, None)
