"""The packages that the library needs, which of them are there, and which 3D Slicer brings and must keep.

Nothing is imported to find out, so that Slicer's own process can ask before anything is installed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import sys

TORCH = "torch>=2.4"  # by itself, since the build has to suit the GPU: in Slicer the PyTorch extension installs it
NEEDED = (
    TORCH,
    "numpy>=1.26",
    "scipy>=1.11",
    "SimpleITK>=2.3",
    "scikit-learn>=1.4",
    "opencv-python-headless>=4.8",
    "safetensors>=0.4",
    "pydicom>=2.4",
    "matplotlib>=3.8",
    "tqdm>=4.66",
    "click>=8.1",
    "pydantic>=2.6",
    "joblib>=1.3",
    "filelock>=3.12",
    "tomli>=2; python_version < '3.11'",
)
BUNDLED = (
    "numpy",
    "scipy",
    "SimpleITK",
    "pydicom",
    "requests",
    "pillow",
    "packaging",
    "pyparsing",
    "python-dateutil",
    "six",
    "typing_extensions",
    "certifi",
    "idna",
    "charset-normalizer",
    "urllib3",
    "cryptography",
    "cffi",
    "dicomweb-client",
    "highdicom",
)
"""What 3D Slicer 5.10 or 5.12 brings and this library or its dependencies use too; replacing one can break Slicer."""

_SAME = {
    "opencv-python-headless": (
        "opencv-python-headless",
        "opencv-python",
        "opencv-contrib-python-headless",
        "opencv-contrib-python",
    )
}
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)>=(?P<least>[\d.]+)(?:; python_version < '(?P<until>[\d.]+)')?")


def versions() -> dict[str, str | None]:
    """Every needed package of this Python and its installed version, None where there is none."""
    return {name_of(each): _installed(name_of(each)) for each in NEEDED if _applies(each)}


def missing(*, in_slicer: bool = False) -> list[str]:
    """Requirements that are not met, as pip takes them: absent or too old. torch is left to ``torch_version``.

    Args:
        in_slicer: leave out what 3D Slicer bundles, which is never installed over.
    """
    importlib.invalidate_caches()  # a process that has just called pip must see what came
    wanted = [each for each in NEEDED if each != TORCH and not (in_slicer and name_of(each) in BUNDLED)]
    return [_of_this_build(each) for each in wanted if not is_met(each)]


def is_met(requirement: str) -> bool:
    """Whether one of ``NEEDED`` is installed, and new enough; true where this Python does not need it."""
    if not _applies(requirement):
        return True
    found = _installed(name_of(requirement))
    return found is not None and _numbers(found) >= _numbers(_parts(requirement)["least"])


def torch_version() -> str | None:
    """The installed version of torch, without importing it; None where there is none."""
    return _installed("torch")


def frozen() -> list[str]:
    """``name==version`` of each bundled package that is installed: the lines of a constraints file for pip."""
    found = {name: _installed(name) for name in BUNDLED}
    return [f"{name}=={version}" for name, version in found.items() if version is not None]


def name_of(requirement: str) -> str:
    """The package that a requirement names."""
    return _parts(requirement)["name"]


def _installed(name: str) -> str | None:
    """The version of a package, whichever of its builds is there."""
    found = [_version(build) for build in _SAME.get(name, (name,))]
    return next(filter(None, found), None)


def _version(build: str) -> str | None:
    try:
        return importlib.metadata.version(build) or None  # a half removed package leaves a folder without a version
    except importlib.metadata.PackageNotFoundError:
        return None


def _of_this_build(requirement: str) -> str:
    """The requirement on the build that is there, since two builds of one package spoil each other."""
    name = name_of(requirement)
    there = next(filter(_version, _SAME.get(name, ())), name)
    return requirement.replace(name, there)


def _applies(requirement: str) -> bool:
    until = _parts(requirement)["until"]
    return until is None or sys.version_info < _numbers(until)


def _parts(requirement: str) -> re.Match[str]:
    match = _REQUIREMENT.fullmatch(requirement)
    if match is None:
        raise ValueError(f"{requirement!r} is not written as name>=version.")
    return match


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with: 2.13.0+cpu is (2, 13, 0); 2 and 2.0 are the same."""
    numbers = [int(part) for part in re.match(r"[\d.]*", version)[0].split(".") if part]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
