"""What happened that a person would have seen or answered; tests read and fill these."""

shown: list[tuple] = []  # (function, text or arguments) of every dialog that would have come up
answers: dict[str, object] = {}  # function -> what its dialog returns, e.g. "getExistingDirectory": "/data"
slotErrors: list[BaseException] = []  # raised in slots, where Qt cannot pass them on
installs: list[tuple] = []  # (function, requirements) of calls of slicer.packaging
installed: set[str] = set()  # packages that slicer.packaging.pip_check finds beside those that are there
