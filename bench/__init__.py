"""Figures, with peers: `python -m bench.NAME [--quick] [--json]`."""
