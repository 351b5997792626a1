"""``skullgan doctor``: what this machine offers, what is missing, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys

import click

from SkullGANLib import needed
from SkullGANLib.cli.common import command
from SkullGANLib.progress import Progress

OPTIONAL = ("dask", "tensorboard")  # prepare on a cluster; curves of a training
GIB = 1024**3


@click.command(short_help="Show Python, torch, devices and memory, and how to mend what is missing.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@command
def doctor(progress: Progress, as_json: bool) -> None:
    """Show Python, torch, devices, driver, memory and packages; end with what to do, if anything."""
    import json

    found = examine()
    progress.result(**found)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"Python   {found['python']} on {found['system']}, {found['executable']}")
    memory = found["memory_gib"]
    click.echo(
        f"Machine  {found['cores']} cores, memory {_gib(memory['total'])}, free {_gib(memory['free'])}, "
        f"disk free here {found['disk_free_gib']:.0f} GiB"
    )
    click.echo(
        f"torch    {found['torch'] or 'missing'}"
        + (f", CUDA build {found['cuda_build']}" if found["cuda_build"] else "")
    )
    if found["driver"]:
        click.echo(f"driver   NVIDIA {found['driver']}")
    for device in found["devices"]:
        click.echo(
            f"device   {device['name']}: {device['title']}"
            + (f", {device['free_gib']:.1f} of {device['total_gib']:.1f} GiB free" if "free_gib" in device else "")
        )
    click.echo("packages " + ", ".join(f"{name} {version or 'missing'}" for name, version in found["packages"].items()))
    for problem in found["problems"]:
        click.echo(f"Problem: {problem['what']}\n         {problem['mend']}")
    if not found["problems"]:
        click.echo("Everything that is needed is there.")


def examine() -> dict:
    """Findings about this machine; imports torch if it is there, and never fails."""
    problems: list[dict[str, str | bool]] = []
    if missing := needed.missing():
        wanted = " ".join(f'"{requirement}"' for requirement in missing)
        what = f"Missing or too old: {', '.join(missing)}."
        problems.append({"what": what, "mend": f"{sys.executable} -m pip install {wanted}"})
    driver = _driver()
    total, free = _memory()
    torch_version, cuda_build, devices = _torch(problems, driver, free, total)
    if free is not None and free < 4:
        problems.append(
            {"what": f"Only {free:.1f} GiB of memory are free.", "mend": "Close other programs before training."}
        )
    disk = shutil.disk_usage(os.getcwd()).free / GIB
    if disk < 5:
        problems.append(
            {"what": f"Only {disk:.1f} GiB of disk are free here.", "mend": "Free some space or work elsewhere."}
        )
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "executable": sys.executable,
        "cores": _cores(),
        "memory_gib": {"total": total, "free": free},
        "disk_free_gib": disk,
        "torch": torch_version,
        "cuda_build": cuda_build,
        "driver": driver,
        "devices": devices,
        "families": [] if torch_version is None or not devices else _families(),
        "presets": _presets(),
        "packages": {**needed.versions(), **{name: _version(name) for name in OPTIONAL}},
        "problems": problems,
    }


def _families() -> list[dict]:
    """The families of models that there are, for a caller that must not import torch itself."""
    from SkullGANLib.models.registry import FAMILIES

    try:
        families = list(FAMILIES.values())
    except ImportError:  # named among the missing packages
        return []
    images = [each for each in families if not each.volumes]
    return [{"name": each.name, "title": each.title, "conditions": list(each.conditions)} for each in images]


def _presets() -> list[dict]:
    """What each preset is for, and how long and in what batches it trains; empty without pydantic."""
    try:
        from SkullGANLib.train.options import preset_summaries
    except ImportError:
        return []
    return preset_summaries()


def _torch(
    problems: list[dict[str, str | bool]], driver: str | None, free: float | None, total: float | None
) -> tuple[str | None, str | None, list[dict]]:
    """Version, CUDA build and devices of torch; what is wrong goes into ``problems``.

    ``free`` and ``total`` are GiB of the machine's memory, which the CPU and Apple's GPU use.
    """
    try:
        import torch
    except ImportError as error:
        problems.append(
            {
                "what": f"torch cannot be imported ({error}).",
                "mend": "In 3D Slicer install it with the PyTorch extension, else: pip install torch",
            }
        )
        return None, None, []
    except OSError as error:  # a broken CUDA installation shows as a library that does not load
        problems.append(
            {
                "what": f"torch is installed but does not load ({error}).",
                "mend": "Uninstall torch and install the build for this machine.",
                "wrong_torch": True,
            }
        )
        return needed.torch_version(), None, []
    if not needed.is_met(needed.TORCH):
        what = f"torch {torch.__version__} is too old."
        problems.append({"what": what, "mend": f"Install {needed.TORCH}.", "wrong_torch": True})
    memory = {} if free is None else {"free_gib": free, "total_gib": total}
    devices = [{"name": "cpu", "title": platform.processor() or platform.machine(), **memory}]
    for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(i)
        title = torch.cuda.get_device_name(i)
        devices.append({"name": f"cuda:{i}", "title": title, "free_gib": free / GIB, "total_gib": total / GIB})
        major, minor = torch.cuda.get_device_capability(i)
        if f"sm_{major}{minor}" not in torch.cuda.get_arch_list() and not any(
            arch.startswith(f"sm_{major}") for arch in torch.cuda.get_arch_list()
        ):
            what = f"This torch has no kernels for {title}."
            problems.append({"what": what, "mend": "Install a newer torch build.", "wrong_torch": True})
    if torch.backends.mps.is_available():
        devices.append({"name": "mps", "title": "Apple GPU", **memory})
    if driver and len(devices) == 1:
        if torch.version.cuda is None:
            problems.append(
                {
                    "what": "There is an NVIDIA GPU, but this torch is built for the CPU only.",
                    "mend": "Install a CUDA build of torch.",
                    "wrong_torch": True,
                }
            )
        else:
            problems.append(
                {
                    "what": f"torch is built for CUDA {torch.version.cuda}, and the driver {driver} does not serve it.",
                    "mend": "Update the NVIDIA driver, or install a torch build for an older CUDA.",
                    "wrong_torch": True,
                }
            )
    return torch.__version__, torch.version.cuda, devices


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _driver() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    command_line = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command_line, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip().splitlines()[0] if answer.stdout.strip() else None


def _memory() -> tuple[float | None, float | None]:
    """Total and free memory in GiB; None where the system does not tell without further packages."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return tuple(int(lines[name].split()[0]) / 1024**2 for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        pass
    if sys.platform == "win32":
        return _windows_memory()
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, None
    except (AttributeError, ValueError, OSError):
        return None, None


def _windows_memory() -> tuple[float | None, float | None]:
    import ctypes

    class Status(ctypes.Structure):
        """MEMORYSTATUSEX of the Windows API."""

        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "free", "a", "b", "c", "d", "e")),
        )

    status = Status(length=ctypes.sizeof(Status))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None, None
    return status.total / GIB, status.free / GIB


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gib(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} GiB"
