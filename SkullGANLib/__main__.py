"""``python -m SkullGANLib`` is ``skullgan``."""

from SkullGANLib.cli.main import main

if __name__ == "__main__":
    main()
