"""Files and folders that are whole or not there: written beside their place, then renamed into it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SkullGANLib.errors import FormatError, InputError, ResourceError, SkullGANError
from SkullGANLib.progress import Progress, report

if TYPE_CHECKING:
    import torch

_DAY_S = 86_400
_NEARLY_FULL = 1 << 20
_DISK_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextlib.contextmanager
def replace_folder(path: str | Path, *, overwrite: bool = True, marker: str | None = None) -> Iterator[Path]:
    """Fill a temporary sibling folder; at the end of the ``with`` block it takes the place of ``path``.

    A reader sees the old folder or the new one, never a mixture; so does whoever looks after the process was killed,
    at whatever moment (``restore_interrupted`` helps where the file system cannot exchange two folders in one step).
    If the block raises, the old folder stays as it was and the temporary one is removed. What earlier killed
    processes left beside ``path`` is removed at the start.

    Args:
        path: the folder to make or replace. A symbolic link is followed.
        overwrite: whether an existing, non-empty folder may be replaced.
        marker: name of a file by which a folder of the same sort is known; a folder without it is never replaced.

    Yields:
        The temporary folder, empty, on the same disk.

    Raises:
        InputError: ``path`` is a file, or exists and may not be replaced.
        ResourceError: the disk is full.
    """
    target = Path(path).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    restore_interrupted(target)
    check_replaceable(target, overwrite=overwrite, marker=marker)
    _remove_left_overs(target)
    temporary = target.with_name(f".{target.name}.writing-{_node()}-{os.getpid()}-{secrets.token_hex(4)}")
    temporary.mkdir()
    try:
        with _full_disk_in_words(target):
            yield temporary
            _flush_folder(temporary)
            check_replaceable(target, overwrite=overwrite, marker=marker)
            _put_in_place(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def restore_interrupted(path: str | Path) -> None:
    """Put a folder back that a killed process had moved aside and not yet replaced; else do nothing."""
    target = Path(path).resolve()
    aside = _aside(target)
    if not target.exists() and aside.is_dir():
        time.sleep(0.2)  # a living writer needs a moment between its two renames
        with contextlib.suppress(OSError):
            if not target.exists():
                aside.rename(target)


@contextlib.contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """Write a temporary sibling with the same suffix; at the end of the ``with`` block it replaces ``path``.

    Raises:
        ResourceError: the disk is full.
    """
    target = Path(path).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{secrets.token_hex(4)}-{target.name}")
    try:
        with _full_disk_in_words(target):
            yield temporary
            _flush_file(temporary)
            os.replace(temporary, target)
            _flush_directory(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where what can be computed again is kept: ``SKULLGAN_CACHE``, else the user's cache folder of the platform."""
    named = os.environ.get("SKULLGAN_CACHE")
    if named:
        return Path(named)
    try:
        home = Path.home()
    except RuntimeError:  # a container's user may have none
        home = Path(tempfile.gettempdir())
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "SkullGAN" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "SkullGAN"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "skullgan"


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented UTF-8 JSON, in one step; NumPy numbers and arrays become plain ones.

    Raises:
        InputError: NaN, infinity or an object that is not JSON.
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise InputError(f"{Path(path).name} cannot hold such a value ({error}).", "Give numbers and text.") from error
    with replace_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_tensors(
    path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file that whoever may read its folder can read; its own writer keeps it to the owner.

    Raises:
        OSError: it could not be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path, metadata)
    except SafetensorError as error:  # what the disk said is in its words only
        raise OSError(str(error)) from error
    os.chmod(path, os.stat(Path(path).parent).st_mode & 0o666)


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        FormatError: the file is missing, not UTF-8 or not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FormatError(f"{path.name} is missing in {path.parent}.", "Check the path.") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError(f"{path} is not readable JSON ({error}).", "Make it again or take a copy.") from error


def read_document(path: str | Path, *, format: str, version: int, what: str) -> dict[str, Any]:
    """Read a JSON file of this library.

    Args:
        path: of the file.
        format: what it must name itself.
        version: the newest that can be read.
        what: the thing it describes, such as "model".

    Raises:
        FormatError: missing, not JSON, of another format, or written by a newer version.
    """
    path = Path(path)
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != format:
        raise FormatError(f"{path} is not of a SkullGAN {what}.", "Choose another folder.")
    found = content.get("version")
    if isinstance(found, int) and found > version:
        raise FormatError(
            f"{path.parent} was written by a newer SkullGAN ({what} version {found}; this one reads {version}).",
            "Update SkullGAN.",
        )
    return content


def sha256_of(path: str | Path, *, progress: Progress | None = None) -> str:
    """SHA-256 of a file's bytes, as ``sha256sum`` prints it; ``progress`` is told the bytes read."""
    path, digest, done = Path(path), hashlib.sha256(), 0
    size = path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
            done += len(block)
            report(progress, done, size, f"Checking {path.name}")
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")


def check_replaceable(path: str | Path, *, overwrite: bool = True, marker: str | None = None) -> None:
    """Raise what ``replace_folder`` would raise, for the same arguments: ask before hours of work, not after.

    Raises:
        InputError: ``path`` is a file, or a folder that may not be replaced.
        OSError: nothing can be written there.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=target.parent).close()
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"{target} is a file, a folder is needed.", "Choose another name.")
    if not any(target.iterdir()):
        return
    if not overwrite:
        raise InputError(
            f"{target} exists already.", "Choose another name, or ask for it to be overwritten (--overwrite)."
        )
    if marker is not None and not (target / marker).is_file():
        raise InputError(f"{target} holds other files (no {marker}), so it is not replaced.", "Choose another name.")


def _put_in_place(temporary: Path, target: Path) -> None:
    if not target.exists():
        temporary.rename(target)
    elif not _exchange(temporary, target):
        aside = _aside(target)
        shutil.rmtree(aside, ignore_errors=True)
        target.rename(aside)
        temporary.rename(target)
        aside.rename(temporary)
    _flush_directory(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap the names of two folders in one step; False where the system or the disk cannot."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        a, b = os.fsencode(one), os.fsencode(other)
        if sys.platform == "linux":
            at_cwd, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
            return libc.renameat2(at_cwd, a, at_cwd, b, exchange) == 0
        if sys.platform == "darwin":
            return libc.renamex_np(a, b, 2) == 0  # RENAME_SWAP
    except (OSError, AttributeError, TypeError):
        pass
    return False


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.replaced")


def _remove_left_overs(target: Path) -> None:
    pattern = re.compile(re.escape(f".{target.name}.writing-") + r"(?P<node>.*)-(?P<pid>\d+)-[0-9a-f]{8}")
    for folder in target.parent.iterdir():
        match = pattern.fullmatch(folder.name)
        if match and _is_abandoned(folder, match["node"], int(match["pid"])):
            shutil.rmtree(folder, ignore_errors=True)
    if target.exists():
        shutil.rmtree(_aside(target), ignore_errors=True)


def _is_abandoned(folder: Path, node: str, pid: int) -> bool:
    if node == _node() and os.name == "posix":
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
    with contextlib.suppress(FileNotFoundError):
        return time.time() - folder.stat().st_mtime > _DAY_S
    return False


def _node() -> str:
    return re.sub(r"\W", "_", platform.node())[:32]


def _flush_folder(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            _flush_file(Path(root, name))
        _flush_directory(Path(root))


def _flush_file(path: Path) -> None:
    with open(path, "rb" if os.name == "posix" else "r+b") as file:  # Windows flushes only what may be written
        os.fsync(file.fileno())


def _flush_directory(path: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network disks refuse to flush a folder
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _full_disk_in_words(target: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not _disk_is_full(error, target):
            raise
        advice = "Free some space and do it again; what was there before is unchanged."
        raise ResourceError(f"The disk is full: {target} could not be written.", advice) from error


def _disk_is_full(error: Exception, target: Path) -> bool:
    """Whether a failed write ran out of space; libraries say so in their own ways, or not at all."""
    if isinstance(error, SkullGANError):
        return False
    if getattr(error, "errno", None) in _DISK_FULL or "no space left" in str(error).lower():
        return True
    usage = shutil.disk_usage(target.parent)
    return not isinstance(error, OSError) and usage.total > 0 and usage.free < _NEARLY_FULL
