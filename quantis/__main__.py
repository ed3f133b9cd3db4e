"""`python -m quantis` is the command line."""

from __future__ import annotations

from quantis.cli.main import main

if __name__ == "__main__":
    main()
