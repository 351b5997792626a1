"""The Install button of the panel: what it says, what it calls, what it leaves alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from test_module_panel import FOUND, STARTS, makeDesk, tip

import slicer_host
from SkullGANLib import needed

desk = pytest.fixture(makeDesk)


class Packages:
    """What is missing, and a slicer.packaging.pip_ensure that installs it and keeps what it was called with."""

    def __init__(self, desk, missing=(), torch="2.9.0"):
        import slicer

        self.missing, self.torch, self.ensured, self.error = list(missing), torch, [], None
        desk.patch.setattr(needed, "missing", lambda **_: list(self.missing))
        desk.patch.setattr(needed, "torch_version", lambda: self.torch)
        desk.patch.setattr(needed, "frozen", lambda: ["numpy==2.0.2", "SimpleITK==2.5.0"])
        desk.patch.setattr(slicer.packaging, "pip_ensure", self.ensure)

    def ensure(self, requirements, constraints=None, requester=None):
        self.ensured.append((requirements, Path(constraints).read_text(encoding="utf-8"), requester))
        if self.error is not None:
            raise self.error
        self.missing = []


def test_missing_packages_disable_every_start_button_and_offer_to_install(desk):
    Packages(desk, ["tqdm>=4.66", "click>=8.1"])
    desk.head()
    desk.open(answered=False)
    assert desk.ui.statusLabel.text == "Python packages are missing: tqdm>=4.66, click>=8.1."
    assert desk.ui.installButton.visible
    assert desk.ui.installButton.enabled
    assert tip(desk.ui.installButton) == "Asks, then installs into Slicer's Python with pip: tqdm>=4.66, click>=8.1."
    for name in STARTS:
        button = getattr(desk.ui, name)
        assert (button.enabled, tip(button)) == (False, "Python packages are missing: press Install at the top.")
    assert desk.calls("doctor") == []


def test_install_pins_what_slicer_bundles_and_then_looks_again(desk):
    packages = Packages(desk, ["tqdm>=4.66"])
    desk.open(answered=False)
    desk.ui.installButton.click()
    assert packages.ensured == [(["tqdm>=4.66"], "numpy==2.0.2\nSimpleITK==2.5.0\n", "SkullGAN")]
    desk.until(lambda: desk.panel.status.found)
    assert not desk.ui.installButton.visible
    assert "RTX 4090" in desk.ui.statusLabel.text
    assert desk.errors == []
    assert "missing" not in tip(desk.ui.previewButton)


@pytest.mark.parametrize("error", [
    RuntimeError("User declined package installation"),
    subprocess.CalledProcessError(1, ["pip", "install", "tqdm"]),  # what slicer.packaging and slicer.util pass on
])  # fmt: skip
def test_an_installation_declined_or_failed_is_told_in_two_lines(desk, error):
    packages = Packages(desk, ["tqdm>=4.66"])
    packages.error = error
    desk.open(answered=False)
    desk.ui.installButton.click()
    ((text, details),) = desk.errors
    assert "unexpected" not in text
    assert len(text.split("\n\n")) == 2
    assert details == ""
    assert desk.ui.installButton.visible
    assert desk.ui.statusLabel.text == "Python packages are missing: tqdm>=4.66."


def test_an_installation_that_changed_nothing_is_found_out(desk):
    import slicer

    Packages(desk, ["tqdm>=4.66"])
    desk.patch.setattr(slicer.packaging, "pip_ensure", lambda *_, **__: None)  # as with testing mode
    desk.open(answered=False)
    desk.ui.installButton.click()
    ((text, _),) = desk.errors
    assert text.startswith("Still missing: tqdm>=4.66.\n\n")
    assert desk.ui.installButton.visible


def test_packages_cannot_be_installed_while_a_job_runs(desk):
    ui = desk.ready()
    packages = Packages(desk, torch=None)
    packages.missing = []
    desk.ui.refreshButton.click()
    assert ui.installButton.enabled
    desk.waiting(ui.evaluateButton, "evaluate")
    assert (ui.installButton.enabled, tip(ui.installButton)) == (False, "Evaluate is still running.")


def test_torch_comes_through_the_pytorch_extension(desk):
    packages = Packages(desk, torch=None)
    slicer_host.setPyTorchUtils(True)
    desk.head()
    desk.open()
    assert tip(desk.ui.installButton).startswith("Asks, then installs torch through the PyTorch extension")
    assert desk.ui.previewButton.enabled  # preparing needs no torch
    for name in ("trainButton", "estimateButton", "generateButton"):
        assert tip(getattr(desk.ui, name)) == "torch is missing: press Install at the top."
    desk.ui.installButton.click()  # declined: it is still missing
    assert slicer_host.installs == [("installTorch", needed.TORCH.removeprefix("torch"))]
    assert packages.ensured == []
    ((text, _),) = desk.errors
    assert text.startswith("Still missing: torch.\n\n")
    packages.torch = "2.9.0"
    desk.ui.installButton.click()
    desk.until(lambda: not desk.ui.installButton.visible)
    assert len(desk.errors) == 1


def test_without_the_pytorch_extension_the_way_to_it_is_told(desk):
    Packages(desk, torch=None)
    desk.open()
    desk.ui.installButton.click()
    ((text, _),) = desk.errors
    assert "PyTorch extension" in text.split("\n\n")[0]
    assert "Extensions Manager" in text.split("\n\n")[1]


@pytest.mark.parametrize("agreed", [True, False])
def test_slicer_5_10_installs_after_asking_too(desk, agreed):
    import slicer

    Packages(desk, ["tqdm>=4.66", "click>=8.1"])
    slicer_host.setPackaging(False)
    slicer_host.answers["confirmOkCancelDisplay"] = agreed
    calls = []

    def pip_install(requirements):  # takes no more than that in 5.10
        flag, constraints, *packages = requirements
        calls.append((flag, Path(constraints).read_text(encoding="utf-8"), packages))

    desk.patch.setattr(slicer.util, "pip_install", pip_install)
    desk.open(answered=False)
    desk.ui.installButton.click()
    asked = [text for what, text in slicer_host.shown if what == "confirmOkCancelDisplay"]
    assert asked == ["SkullGAN needs these Python packages: tqdm>=4.66, click>=8.1. Install them?"]
    expected = ("--constraint", "numpy==2.0.2\nSimpleITK==2.5.0\n", ["tqdm>=4.66", "click>=8.1"])
    assert calls == ([expected] if agreed else [])
    ((text, _),) = desk.errors
    assert text.startswith("Still missing" if agreed else "The installation was declined.\n\n")


WRONG = {"what": "There is an NVIDIA GPU, but this torch is built for the CPU only.",
         "mend": "Install a CUDA build of torch.", "wrong_torch": True}  # fmt: skip


def test_a_wrong_build_of_torch_is_replaced_by_one_button(desk):
    Packages(desk)
    slicer_host.setPyTorchUtils(True)
    desk.script("doctor", f"say(result={FOUND | {'problems': [WRONG]}!r})")
    desk.open()
    button = desk.ui.installButton
    desk.until(lambda: desk.panel.status.found)
    assert "built for the CPU only" in desk.ui.statusLabel.text
    assert (button.visible, button.text) == (True, "Repair torch")
    assert "uninstalls torch" in tip(button)
    slicer_host.answers["confirmOkCancelDisplay"] = False
    button.click()
    assert slicer_host.installs == []
    assert "declined" in desk.errors[0][0]
    slicer_host.answers["confirmOkCancelDisplay"] = True
    desk.script("doctor", f"say(result={FOUND!r})")
    button.click()
    assert [what for what, _ in slicer_host.installs] == ["uninstallTorch", "installTorch"]
    desk.until(lambda: not button.visible)
