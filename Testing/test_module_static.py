"""What can be held of the Slicer module without running it: lists, names, words and imports."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULE = ROOT / "SkullGAN"
SOURCES = sorted(MODULE.rglob("*.py"))
UI = ET.parse(MODULE / "Resources" / "UI" / "SkullGAN.ui").getroot()
WIDGETS = {widget.get("name"): widget.get("class") for widget in UI.iter("widget")}

# what Slicer brings before an extension is loaded; numpy is among it, torch and pydantic are not
BROUGHT = {"slicer", "vtk", "qt", "ctk", "numpy", "SampleData"}

# parameter types and the widgets that Slicer 5.12.3 was seen to connect them to
CONNECTS = {
    "bool": {"QCheckBox", "ctkCheckBox"},
    "int": {"QSpinBox", "QSlider"},
    "float": {"QDoubleSpinBox", "ctkDoubleSpinBox", "ctkSliderWidget", "qMRMLSliderWidget", "qMRMLSpinBox"},
    "str": {"QLineEdit", "QLabel", "QTextEdit", "QComboBox", "ctkComboBox"},
    "node": {"qMRMLNodeComboBox"},
}

CATALOG_ENTRY = {  # of the Extensions Index, version 1.0.2: what must be there, what may, and of which type
    "type": "object",
    "required": ["$schema", "category", "scm_url"],
    "additionalProperties": False,
    "properties": {
        **{name: {"type": "string"} for name in ("category", "scm_url", "scm_revision", "dicom_support_rule",
                                                 "build_subdirectory")},
        "$schema": {"type": "string", "pattern": r"/slicer-extension-catalog-entry-schema-v1\.0\.2\.json#?$"},
        "scm_type": {"enum": ["git", "local"]},
        "build_dependencies": {"type": "array", "items": {"type": "string"}},
        "enabled": {"type": "boolean"},
        "tier": {"type": "integer", "minimum": 1, "maximum": 5},
    },
}  # fmt: skip


def trees() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in SOURCES]


def parameterTypes() -> dict[str, str]:
    """Name of each field of the parameter node and the word its annotation stands for."""
    tree = ast.parse((MODULE / "SkullGAN.py").read_text(encoding="utf-8"))
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "SkullGANParameterNode").body
    types = {}
    for field in (n for n in body if isinstance(n, ast.AnnAssign)):
        words = ast.unparse(field.annotation)
        inner = re.sub(r"^Annotated\[(\w+),.*", r"\1", words)
        types[field.target.id] = "node" if inner.startswith("vtkMRML") else inner
    return types


def listed(name: str) -> set[str]:
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8").replace("${MODULE_NAME}", "SkullGAN")
    return set(re.search(rf"set\({name}\s+(.*?)\)", text, re.DOTALL).group(1).split())


def test_the_build_list_names_every_file_of_the_module_and_no_other():
    assert listed("MODULE_PYTHON_SCRIPTS") == {p.relative_to(MODULE).as_posix() for p in SOURCES}
    resources = (p for p in (MODULE / "Resources").rglob("*") if p.is_file())
    assert listed("MODULE_PYTHON_RESOURCES") == {p.relative_to(MODULE).as_posix() for p in resources}


def test_the_extension_is_built_with_library_and_module():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.findall(r"add_subdirectory\((\w+)\)", text) == ["SkullGANLib", "SkullGAN"]
    order = ["find_package(Slicer", "${Slicer_USE_FILE}", "add_subdirectory", "GENERATE_CONFIG", "EXTENSION_CPACK"]
    places = [text.index(word) for word in order]
    assert places == sorted(places)


def test_the_catalog_entry_is_valid():
    entry = json.loads((ROOT / "SkullGAN.json").read_text(encoding="utf-8"))
    jsonschema.validate(entry, CATALOG_ENTRY)
    assert (entry["category"], entry["build_dependencies"]) == ("Image Synthesis", ["PyTorch"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**entry, "homepage": "x"}, CATALOG_ENTRY)


def test_every_bound_widget_has_a_parameter_of_a_type_that_connects():
    types = parameterTypes()
    bound = {}
    for widget in UI.iter("widget"):
        for prop in widget.findall("property"):
            if prop.get("name") == "SlicerParameterName":
                bound[prop.findtext("string")] = widget.get("class")
    assert bound
    assert {name: kind for name, kind in bound.items() if kind not in CONNECTS.get(types.get(name, ""), ())} == {}


def test_every_parameter_is_used_and_every_parameter_used_exists():
    types = parameterTypes()
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    bound = {prop.findtext("string") for prop in UI.iter("property") if prop.get("name") == "SlicerParameterName"}
    assert {name for name in types if name not in bound and not re.search(rf'[."]{name}\b', text)} == set()
    # an unknown attribute of a parameter node is accepted without a word, so that a misspelt one would be lost
    used = set(re.findall(r"\bparameters\.(\w+)", text)) | set(re.findall(r"self\.parameters\.(\w+)", text))
    assert used - set(types) == set()


def test_every_widget_that_the_code_names_is_in_the_ui():
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    named = set(re.findall(r"\bui\.(\w+)", text))
    assert named - set(WIDGETS) == set()
    plain = {"QLabel", "QWidget", "ctkCollapsibleButton", "qMRMLWidget"}
    bound = {w.get("name") for w in UI.iter("widget") if any(p.get("name") == "SlicerParameterName" for p in w)}
    assert {name for name, kind in WIDGETS.items() if kind not in plain} - named - bound == set()


def test_every_button_of_the_ui_has_a_tooltip_and_every_custom_widget_is_declared():
    silent = [
        widget.get("name")
        for widget in UI.iter("widget")
        if widget.get("class")
        in {"QPushButton", "QToolButton", "QCheckBox", "QComboBox", "QSpinBox", "ctkPathLineEdit"}
        and not any(prop.get("name") == "toolTip" for prop in widget.findall("property"))
    ]
    assert silent == []
    declared = {custom.findtext("class") for custom in UI.iter("customwidget")}
    assert {kind for kind in WIDGETS.values() if kind.startswith(("ctk", "qMRML"))} <= declared
    receivers = {
        c.findtext("receiver") for c in UI.iter("connection") if c.findtext("slot") == "setMRMLScene(vtkMRMLScene*)"
    }
    assert receivers == {name for name, kind in WIDGETS.items() if kind.startswith("qMRML") and kind != "qMRMLWidget"}


def test_translated_words_are_plain_strings():
    wrong = [
        f"{path.name}:{call.lineno}"
        for path, tree in trees()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "_"
        and not (len(call.args) == 1 and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str))
    ]  # fmt: skip
    assert wrong == []


def test_nothing_foreign_is_imported_before_it_is_needed():
    foreign = {}
    for path, tree in trees():
        for node in tree.body:
            names = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import)
                else [node.module] if isinstance(node, ast.ImportFrom) and not node.level
                else []
            )  # fmt: skip
            roots = {name.partition(".")[0] for name in names}
            left = roots - BROUGHT - sys.stdlib_module_names - {"SkullGANLib", "SkullGANSlicer"}
            if left:
                foreign[path.name] = left
    assert foreign == {}


def test_names_that_newer_qt_or_python_lack_are_not_used():
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    assert re.findall(r"QTextCodec|QRegExp|QDesktopWidget|\.exec_\(|\bimport imp\b", text) == []


@pytest.mark.parametrize("name", ["SkullGAN.png", "SkullGANPhantomHead.png"])
def test_icons_are_small_png_files(name):
    data = (MODULE / "Resources" / "Icons" / name).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(data) < 100_000


def test_the_module_file_loads_quickly_and_without_torch():
    code = (
        "import sys, time; sys.path.insert(0, 'Testing')\n"
        "import slicer_host; slicer_host.start(gui=False)\n"
        "start = time.perf_counter(); slicer_host.load_module('SkullGAN'); took = time.perf_counter() - start\n"
        "heavy = [m for m in ('torch', 'pydantic', 'sklearn', 'cv2', 'matplotlib', 'scipy') if m in sys.modules]\n"
        "print(took, heavy)"
    )
    times = []
    for _ in range(3):  # the machine may be busy with something else
        answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        took, _, heavy = answer.stdout.splitlines()[-1].partition(" ")
        assert heavy == "[]"
        times.append(float(took))
        if times[-1] < 0.3:
            break
    assert min(times) < 0.3
