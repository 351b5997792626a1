"""What the module does inside Slicer: nodes, views, jobs and the panel."""

import os
import sys

RELOAD_ORDER = (
    "geometry",
    "segmentations",
    "scene",
    "plots",
    "views",
    "words",
    "results",
    "inputs",
    "audit",
    "scene_volumes",
    "pairs",
    "reports",
    "timer",
    "running",
    "turing",
    "volumes",
    "volume_tools",
    "label_maps",
    "datasets",
    "annotations",
    "class_folders",
    "walks",
    "downstream",
    "logic",
    "widgets",
    "install",
    "section",
    "section_status",
    "section_job",
    "section_prepare",
    "section_folders",
    "section_train",
    "section_generate",
    "section_classes",
    "section_walk",
    "section_volumes",
    "section_labels",
    "section_annotate",
    "section_reduce",
    "section_evaluate",
    "section_downstream",
    "section_turing",
    "panel",
    "selftest",
)
"""Files of this package, those first that others import: the order in which a developer's reload takes them."""


def _findLibrary() -> None:
    """Put SkullGANLib on the path: it lies beside the module where it is installed, one folder up in the sources."""
    module = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    for folder in (module, os.path.dirname(module)):
        if os.path.isfile(os.path.join(folder, "SkullGANLib", "__init__.py")):
            if folder not in sys.path:
                sys.path.append(folder)
            return


_findLibrary()
