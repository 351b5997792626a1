"""Painting the head phantom slice by slice: soft tissue, face and base, brain, and last the shell of the vault."""

from __future__ import annotations

import math

import numpy as np

from SkullGANLib.ct import phantom_scanner
from SkullGANLib.ct.phantom_canvas import Canvas, Ellipsoid, join
from SkullGANLib.ct.phantom_fields import grid_directions
from SkullGANLib.ct.phantom_parts import BONES, CONTENTS, FOSSAE, INSIDE, LABELS, SKIN, MeanHead, Part, fossa_plane
from SkullGANLib.ct.phantom_shell import Foot, SkullShell, ramp

LAYER_MM = 1.2
BASE_MM = 3.2
CORTEX_MM = 1.3
FILLET_MM = 3.0
FOSSA_CREASE_MM = 5.0
PLAIN_HU = {
    "fat": -95.0,
    "muscle": 55.0,
    "air": -1000.0,
    "water": 8.0,
    "lens": 85.0,
    "dura": 58.0,
    "brain": 33.0,
    "dentine": 1500.0,
    "enamel": 2500.0,
    "petrous": 1950.0,
    "thin_bone": 500.0,
    "amalgam": 9000.0,
}


class HeadPainter:
    """Paints one scan; its methods may run in several threads, each on its own slices.

    Args:
        shell: the subject's skull.
        seed: chooses the fillings.
        head_to_lps: (4, 4) pose.
        index_to_lps: (4, 4) from (column, row, slice) to LPS mm; may be sheared.
        table, metal: whether there are a table and dental fillings.
    """

    def __init__(
        self,
        shell: SkullShell,
        seed: int,
        head_to_lps: np.ndarray,
        index_to_lps: np.ndarray,
        table: bool,
        metal: bool,
    ) -> None:
        self.shell = shell
        self.seed = seed
        self.parameters = p = shell.parameters
        self.index_to_lps = index_to_lps
        self.index_to_head = np.linalg.inv(head_to_lps) @ index_to_lps
        self.spacing_mm = np.linalg.norm(index_to_lps[:3, :3], axis=0)
        # A thick slice shows the mean of what it cuts.
        self.layers = 2 * math.ceil((self.spacing_mm[2] / LAYER_MM - 1) / 2) + 1 if self.spacing_mm[2] > LAYER_MM else 1
        self.voxel_mm = float((self.spacing_mm.prod() / self.layers) ** (1 / 3))
        self.mean_head = MeanHead(seed, p)
        self.table, self.metal = table, metal
        directions = grid_directions()[::8, ::8].reshape(-1, 3).T.astype(np.float32)
        radius, *_, scalp = shell.outer_and_scalp(*directions)
        skin = directions * (radius + scalp)
        self.back_mm = float((head_to_lps[1, :3] @ skin + head_to_lps[1, 3]).max())
        self.middle_mm = float(head_to_lps[0, 3])

    def paint(self, hu: np.ndarray, labels: np.ndarray, begin: int, end: int) -> None:
        """Fill slices ``begin`` to ``end`` of the arrays; labels are those of the voxel centres."""
        hu, labels = hu[begin:end], labels[begin:end]
        if self.layers == 1:
            self._paint_layer(hu, labels, begin)
            return
        hu[...] = 0
        for number in range(self.layers):
            layer, layer_labels = np.empty_like(hu), np.empty_like(labels)
            self._paint_layer(layer, layer_labels, begin + (number - self.layers // 2) / self.layers)
            hu += layer / np.float32(self.layers)
            if number == self.layers // 2:
                labels[...] = layer_labels

    def _paint_layer(self, hu: np.ndarray, labels: np.ndarray, begin: float) -> None:
        head, canvas = self._canvas(hu, labels, begin)
        radius, *normal, scalp = self.shell.outer_and_scalp(*head)
        length = np.sqrt((head**2).sum(axis=0)) + np.float32(1e-6)
        depth = (radius - length) * sum(n * h for n, h in zip(normal, head, strict=True)) / length
        canvas.hu[...] = -1000
        canvas.labels[...] = LABELS["air"]
        if self.table:
            self._paint_table(canvas)
        floor = fossa_plane(canvas.points)
        for fossa in FOSSAE:
            join(canvas, floor, fossa, FOSSA_CREASE_MM)
        cavity = np.maximum(self.parameters.thickness_mm - depth, floor)
        self._paint_soft_tissue(canvas, -depth - scalp, cavity)
        plate = np.abs(floor - np.float32(BASE_MM / 2)) - np.float32(BASE_MM / 2)
        plate = np.maximum(plate, -depth)
        self._paint_bones(canvas, plate, cavity)
        self._paint_parts(canvas, CONTENTS)
        self._paint_brain(canvas, np.maximum(2 - depth, floor), cavity)
        self._paint_shell(canvas, head, depth, floor)
        if self.metal:
            self._paint_metal(canvas)

    def _canvas(self, hu: np.ndarray, labels: np.ndarray, begin: float) -> tuple[np.ndarray, Canvas]:
        slices, rows, columns = hu.shape
        m = self.index_to_head.astype(np.float32)
        i = np.arange(columns, dtype=np.float32)
        j = np.arange(rows, dtype=np.float32)[:, None]
        k = (np.float32(begin) + np.arange(slices, dtype=np.float32))[:, None, None]
        head = np.stack([m[a, 0] * i + m[a, 1] * j + m[a, 2] * k + m[a, 3] for a in range(3)])
        from_mean = np.diag([*(1 / self.mean_head.scale), 1.0])
        to_index = np.linalg.inv(self.index_to_head) @ from_mean
        to_index[2, 3] -= begin
        return head, Canvas(self.mean_head(head), hu, labels, to_index[[2, 1, 0, 3]], self.voxel_mm)

    def _paint_table(self, canvas: Canvas) -> None:
        _, rows, columns = canvas.hu.shape
        m = self.index_to_lps.astype(np.float32)
        x = m[0, 0] * np.arange(columns, dtype=np.float32) + m[0, 3]
        y = m[1, 1] * np.arange(rows, dtype=np.float32) + m[1, 3]
        hu, share = phantom_scanner.holder(x[None], y[:, None], self.back_mm, self.middle_mm)
        canvas.hu += share * (hu - canvas.hu)
        canvas.labels[np.broadcast_to(share > 0.5, canvas.labels.shape)] = LABELS["table"]

    def _paint_soft_tissue(self, canvas: Canvas, skin: np.ndarray, cavity: np.ndarray) -> None:
        for shape, width_mm in SKIN:
            join(canvas, skin, shape, width_mm)
        canvas.labels[skin < 0] = LABELS["soft_tissue"]
        near = np.flatnonzero(((skin < self.voxel_mm) & (cavity > -1)).ravel())
        if near.size == 0:
            return
        points = canvas.points.reshape(3, -1)[:, near]
        below = -skin.ravel()[near]
        # Fat lies under the skin, thicker in face and neck, and in planes between the muscles.
        lower = np.clip(-points[2] / 60, 0, 1)
        fat_mm = np.float32(1.6) + 4.5 * lower
        fat = ramp((below - 1.7) / 0.8) * ramp((1.7 + fat_mm - below) / 1.2)
        deep = np.flatnonzero((below > 6) & (lower > 0))
        planes = np.abs(self.shell.fine.at(*points[:, deep], scale=14.0))
        fat[deep] = np.maximum(fat[deep], ramp((0.09 - planes) * 14) * ramp((below[deep] - 8) / 4) * lower[deep])
        tissue = 55 - 150 * fat
        share = ramp(below / self.voxel_mm)
        flat = canvas.hu.reshape(-1)
        flat[near] += share * (tissue - flat[near])

    def _paint_bones(self, canvas: Canvas, plate: np.ndarray, cavity: np.ndarray) -> None:
        """Join the solids of each bone, so that no cortex runs through its inside, and paint them."""
        solids = {"skull_base": plate}
        for part in BONES:
            joined = solids.setdefault(part.label, np.full(plate.shape, 20, np.float32))
            for shape in part.shapes():
                join(canvas, joined, shape, FILLET_MM)
        for label, distance in solids.items():
            near = (np.abs(distance) < 3 + self.voxel_mm) & (cavity > -BASE_MM)
            x, y, z = canvas.points[:, near]
            distance[near] += np.float32(0.8) * self.shell.fine.at(x, y, z, scale=6.0)
            material = "jaw" if label == "mandible" else "bone"
            canvas.paint(distance, self._material(material, canvas, distance), LABELS[label])

    def _paint_parts(self, canvas: Canvas, table: tuple[Part, ...]) -> None:
        for part in table:
            for shape in part.shapes():
                block = canvas.within(*shape.bounds())
                if block is not None:
                    distance = shape.distance(block.points)
                    block.paint(distance, self._material(part.material, block, distance), LABELS[part.label])

    def _material(self, name: str, canvas: Canvas, distance: np.ndarray) -> np.ndarray | float:
        if name in PLAIN_HU:
            return PLAIN_HU[name]
        hu = np.full(distance.shape, PLAIN_HU["muscle"], np.float32)
        inside = distance < self.voxel_mm
        points, below = canvas.points[:, inside], -distance[inside]
        p = self.parameters
        if name == "septa":
            cells = np.abs(self.shell.fine.at(*points, scale=5.0))
            hu[inside] = -980 + 1100 * ramp((0.22 - cells) * 5)
            return hu
        cortex_mm = 2.4 if name == "jaw" else CORTEX_MM
        cortex = ramp((cortex_mm - below) / max(0.6, self.voxel_mm))
        spongy = 0.6 * p.diploe_hu * (1 + 0.35 * self.shell.fine.at(*points, scale=1.5))
        if name == "cells":
            air = self.shell.fine.at(*points, scale=1.9) + 2.5 * (p.pneumatisation - 0.5)
            hu[inside] = 1000 - 1850 * ramp(air * 1.6)
            return hu
        hu[inside] = cortex * (p.outer_hu - 200) + (1 - cortex) * spongy
        return hu

    def _paint_brain(self, canvas: Canvas, filled: np.ndarray, cavity: np.ndarray) -> None:
        canvas.paint(filled, PLAIN_HU["water"], LABELS["csf"])
        inside = np.flatnonzero(cavity.ravel() < -1.5)
        if inside.size == 0:
            return
        deep = -cavity.reshape(-1)[inside]
        tissue = np.full(inside.shape, 29, np.float32)
        outer = np.flatnonzero(deep < 22)
        shallow = deep[outer]
        fold = np.abs(self.shell.fine.at(*canvas.points.reshape(3, -1)[:, inside[outer]], scale=7.0))
        grey = np.maximum(ramp((5.5 - shallow) / 2), ramp((0.75 - fold) * 3) * ramp((20 - shallow) / 5))
        sulcus = np.maximum(ramp((0.16 - fold) * 6) * ramp((16 - shallow) / 5), ramp((2.8 - shallow) / 1.2))
        tissue[outer] += 8 * grey
        tissue[outer] += sulcus * (8 - tissue[outer])
        canvas.hu.reshape(-1)[inside] = tissue
        canvas.labels.reshape(-1)[inside] = LABELS["brain"]
        canvas.labels.reshape(-1)[inside[outer[sulcus >= 0.5]]] = LABELS["csf"]
        for part in INSIDE:
            for shape in part.shapes():
                block = canvas.within(*shape.bounds())
                if block is not None:
                    distance = np.maximum(shape.distance(block.points), filled[block.place] + 0.5)
                    block.paint(distance, PLAIN_HU[part.material], LABELS[part.label])

    def _paint_shell(self, canvas: Canvas, head: np.ndarray, depth: np.ndarray, floor: np.ndarray) -> None:
        near = np.flatnonzero(((depth > -1 - self.voxel_mm) & (depth < 15 + self.voxel_mm)).ravel())
        if near.size == 0:
            return
        place = self.shell.depth(*head.reshape(3, -1)[:, near])
        foot = self.shell.at_foot(place)
        some = np.flatnonzero((place.mm > -self.voxel_mm) & (place.mm < foot.thickness_mm + self.voxel_mm))
        near, place, foot = near[some], place.take(some), Foot(*(v[some] for v in foot))
        vault = self.shell.region(*place.foot) > 0
        share = ramp(place.mm / self.voxel_mm) * ramp((foot.thickness_mm - place.mm) / self.voxel_mm)
        share *= np.where(vault, 1, ramp((BASE_MM - floor.reshape(-1)[near]) / self.voxel_mm))
        flat = canvas.hu.reshape(-1)
        flat[near] += share * (self.shell.hu(place, foot, self.voxel_mm) - flat[near])

        label = np.full(near.shape, LABELS["diploe"], np.uint8)
        label[place.mm < foot.outer_mm] = LABELS["outer_table"]
        label[place.mm > foot.thickness_mm - foot.inner_mm] = LABELS["inner_table"]
        label[self.shell.suture(place, foot) > 0.5] = LABELS["suture"]
        label[self.shell.sinus(place, foot) > 0.5] = LABELS["sinus"]
        label[~vault] = LABELS["skull_base"]
        inside = (place.mm >= 0) & (place.mm <= foot.thickness_mm) & (share > 0)
        canvas.labels.reshape(-1)[near[inside]] = label[inside]

    def _paint_metal(self, canvas: Canvas) -> None:
        rng = np.random.default_rng([self.seed, 4])
        for _ in range(3):
            x = float(rng.choice([-1, 1]) * rng.uniform(25, 28))
            y, z = float(rng.uniform(-66, -54)), float(rng.choice([-83.5, -88.5]))
            filling = Ellipsoid((x, y, z), (2.5, 2.8, 1.6))
            block = canvas.within(*filling.bounds())
            centre = (canvas.to_index @ (x, y, z, 1))[:3]
            canvas.hu += phantom_scanner.streaks(canvas.hu.shape, centre, self.spacing_mm, rng)
            if block is not None:
                block.paint(filling.distance(block.points), PLAIN_HU["amalgam"], LABELS["metal"])
