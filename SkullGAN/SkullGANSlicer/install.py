"""Install what the library needs into Slicer's Python: torch through the PyTorch extension, the rest with pip.

What Slicer bundles (numpy, SimpleITK and others) is pinned to the version that is there: another one could keep Slicer
from starting.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import tempfile
from collections.abc import Sequence

import slicer
from slicer.i18n import tr as _

from SkullGANLib import needed
from SkullGANLib.errors import ResourceError


def explanation(missing: Sequence[str], *, torch: bool, replace: bool = False) -> str:
    """What ``install`` would do, as sentences."""
    words = []
    if missing:
        words.append(_("Asks, then installs into Slicer's Python with pip: {names}.").format(names=", ".join(missing)))
    if replace:
        words.append(_("Asks, then uninstalls torch and installs the build for this machine: up to 3 GB."))
    elif torch:
        words.append(_("Asks, then installs torch through the PyTorch extension: some 200 MB to 3 GB are downloaded."))
    return " ".join(words)


def install(missing: Sequence[str], *, torch: bool, replace: bool = False) -> None:
    """Install after asking; nothing that Slicer bundles is changed.

    Args:
        missing: requirements for pip.
        torch: whether to install torch.
        replace: whether to uninstall the torch that is there before.

    Raises:
        ResourceError: declined, or something is still missing afterwards.
    """
    if missing:
        _installPackages(list(missing))
    if torch or replace:
        _installTorch(replace=replace)
    importlib.invalidate_caches()
    left = needed.missing(in_slicer=True)  # look, rather than trust an answer
    if needed.torch_version() is None:
        left.append("torch")
    if left:
        raise ResourceError(
            _("Still missing: {names}.").format(names=", ".join(left)),
            _("Install again, or start Slicer anew; the Python console shows what pip said."),
        )


def _installPackages(missing: list[str]) -> None:
    handle, constraints = tempfile.mkstemp(suffix=".txt", prefix="skullgan-constraints-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("\n".join(needed.frozen()) + "\n")
        try:
            from slicer import packaging
        except ImportError:  # Slicer 5.10
            text = _("SkullGAN needs these Python packages: {names}. Install them?").format(names=", ".join(missing))
            if not slicer.util.confirmOkCancelDisplay(text, windowTitle="SkullGAN"):
                raise ResourceError(_("The installation was declined."), _("Press Install when you want it.")) from None
            slicer.util.pip_install(["--constraint", constraints, *missing])
            return
        try:
            packaging.pip_ensure(missing, constraints=constraints, requester="SkullGAN")
        except RuntimeError as error:  # declined, or another installation is under way
            raise ResourceError(str(error), _("Press Install when you want it.")) from error
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise _failed(", ".join(missing), error) from error
    finally:
        os.unlink(constraints)


def _installTorch(*, replace: bool) -> None:
    try:
        import PyTorchUtils
    except ImportError as error:
        raise ResourceError(
            _("torch is missing, and so is the PyTorch extension that installs it."),
            _("Install the extension PyTorch in the Extensions Manager, start Slicer anew and press Install again."),
        ) from error
    requirement = needed.TORCH.removeprefix("torch")
    logic = PyTorchUtils.PyTorchUtilsLogic()
    if replace:
        text = _("torch will be uninstalled, and the build for this machine downloaded and installed. Go on?")
        if not slicer.util.confirmOkCancelDisplay(text, windowTitle="SkullGAN"):
            raise ResourceError(_("The installation was declined."), _("Press the button when you want it."))
    try:
        if replace:
            logic.uninstallTorch()
        logic.installTorch(askConfirmation=not replace, torchVersionRequirement=requirement)
    except (OSError, ValueError, RuntimeError, subprocess.CalledProcessError) as error:
        raise _failed("torch", error) from error


def _failed(what: str, error: Exception) -> ResourceError:
    return ResourceError(
        _("{what} could not be installed: {error}").format(what=what, error=error),
        _("Check the connection and the proxy, and try again; the Python console shows what pip said."),
    )
