"""Volumes drawn by a model as nodes of the scene, their bone in 3D, and the ROI around a volume to be learnt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util

from SkullGANLib.errors import InputError

from . import geometry, scene
from .inputs import KIND_ATTRIBUTE, PHANTOM_HEAD, SYNTHETIC_VOLUME

FOLDER_ATTRIBUTE = "SkullGAN.volumes"
FACTS = {  # of volumes.json, and the attribute of the node that tells each
    "family": "SkullGAN.family",
    "model_hash": "SkullGAN.modelHash",
    "seed": "SkullGAN.seed",
    "first_scale": "SkullGAN.firstScale",
    "library_version": "SkullGAN.libraryVersion",
}
FILE_FACTS = {  # of each file in it; the seed is its own, where it has one
    "file": "SkullGAN.file",
    "image": "SkullGAN.image",
    "seed": "SkullGAN.seed",
    "sha256": "SkullGAN.sha256",
}
KINDS = {SYNTHETIC_VOLUME: "synthetic", PHANTOM_HEAD: "phantom"}  # of a data set that is cut out of such a volume
SOURCE_ROLE = "SkullGAN.source"  # of the reference to the node that this one was made from
BONE_PRESET = "CT-Bone"


def showDrawn(path: Path, *, name: str) -> list[Any]:
    """Volumes drawn by a model, each where it lies in the patient, the bone of the first in 3D.

    Args:
        path: folder that ``skullgan volume generate`` has written.
        name: of the folder in the subject hierarchy, and of the nodes, which are numbered where there are several.

    Returns:
        ``vtkMRMLScalarVolumeNode`` of each; attributes say what it was drawn from and how.

    Raises:
        FormatError: the folder holds no volumes, or a file cannot be read.
    """
    from SkullGANLib.ct.io import read_volume
    from SkullGANLib.files import read_document

    document = read_document(path / "volumes.json", format="skullgan-volumes", version=1, what="folder of volumes")
    folder, nodes = scene.makeFolder(f"SkullGAN {name}"), []
    for number, facts in enumerate(document["files"], start=1):
        title = name if len(document["files"]) == 1 else f"{name}, {number}"
        volume = read_volume(path / facts["file"], labels=True)  # as it is: a part inside a head holds no air
        node = scene.showVolume(volume, name=title, folder=folder)
        node.SetAttribute(KIND_ATTRIBUTE, SYNTHETIC_VOLUME)
        node.SetAttribute(FOLDER_ATTRIBUTE, str(path.resolve()))
        for held, names in ((document, FACTS), (facts, FILE_FACTS)):
            for key, attribute in names.items():
                if held.get(key) is not None:
                    node.SetAttribute(attribute, str(held[key]))
        renderBone(node, visible=number == 1)
        nodes.append(node)
    return nodes


def refer(node: Any, source: Any) -> None:
    """Let a node lead to the one it was made of, where that is a node of the scene."""
    if hasattr(source, "GetID") and slicer.mrmlScene.IsNodePresent(source):
        node.SetNodeReferenceID(SOURCE_ROLE, source.GetID())


def datasetKind(source: Any) -> str:
    """The kind of a data set that is cut out of a volume: ``synthetic``, ``phantom`` or ``real``.

    Attributes of a volume node or of what it was made from say so, or ``phantom.json`` beside the file of a node or in
    the folder of a scan; else it is ``real``.
    """
    if isinstance(source, (str, Path)):
        return "phantom" if isPhantomFile(Path(source).expanduser()) else "real"
    node = source
    while node is not None:
        if (said := node.GetAttribute(KIND_ATTRIBUTE)) in KINDS:
            return KINDS[said]
        stored = node.GetStorageNode()
        if stored is not None and stored.GetFileName() and isPhantomFile(Path(stored.GetFileName())):
            return "phantom"
        node = node.GetNodeReference(SOURCE_ROLE)
    return "real"


def commonKind(sources: Sequence[Any]) -> str:
    """The kind of a data set that is cut out of several volumes.

    Raises:
        InputError: they are of several kinds.
    """
    kinds = sorted({datasetKind(source) for source in sources})
    if len(kinds) > 1:
        raise InputError(
            f"The volumes are of several kinds: {', '.join(kinds)}.", "Give those of one kind, or say which it is."
        )
    return kinds[0]


def isPhantomFile(path: Path) -> bool:
    """Whether a file or folder was written by ``skullgan phantom``, as ``phantom.json`` in or beside it says."""
    from SkullGANLib.ct.label_names import phantom_names

    return bool(phantom_names(path) or phantom_names(path.parent, path.name))


def renderBone(volumeNode: Any, *, visible: bool = True) -> Any:
    """Let 3D views show the bone of a CT: its volume rendering display node, or None where Slicer has none."""
    module = getattr(slicer.modules, "volumerendering", None)
    if module is None:
        return None
    display = module.logic().CreateDefaultVolumeRenderingNodes(volumeNode)
    preset = module.logic().GetPresetByName(BONE_PRESET)
    if preset is not None:
        display.GetVolumePropertyNode().Copy(preset)
    display.SetVisibility(visible)
    return display


def showAlike(volumeNodes: Sequence[Any]) -> None:
    """Give volumes that are to be compared the same window."""
    for node in volumeNodes:
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(*scene.HEAD_HU)


def makeRoi(volumeNode: Any, *, name: str = "Part to learn") -> Any:
    """A ``vtkMRMLMarkupsROINode`` around all of a volume, along its slices, rows and columns.

    Raises:
        InputError: no volume.
    """
    volume = geometry.volumeFromNode(volumeNode)
    matrix = np.eye(4)
    matrix[:3, :3] = geometry.flipPoints(np.asarray(volume.direction).T).T
    matrix[:3, 2] *= np.linalg.det(matrix[:3, :3])  # slices may run the other way: an ROI has right-handed axes
    matrix[:3, 3] = geometry.flipPoints(volume.zyx_to_lps((np.array(volume.shape) - 1) / 2))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", slicer.mrmlScene.GenerateUniqueName(name))
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))
    node.SetSize(*volume.extents_mm[::-1])
    return node
