"""Settings of the client from the environment, read on each call."""

from __future__ import annotations

import os
from pathlib import Path

from quantis.errors import InvalidInput, NotInstalled

DEFAULT_URL = "http://127.0.0.1:8000"


def server_url() -> str:
    """Return the platform's address: QUANTIS_URL, or this machine; InvalidInput when it is no http address."""
    return normalize_url(os.environ.get("QUANTIS_URL") or DEFAULT_URL)


def normalize_url(url: str) -> str:
    """Return the address without a slash at its end."""
    if not url.startswith(("http://", "https://")):
        raise InvalidInput(
            f"server address {url!r} does not start with http:// or https://; write it in full"
        )
    return url.rstrip("/")


def ca_file() -> str | None:
    """Certificates (PEM) that the server's is checked against, from QUANTIS_CA_FILE; the system's if absent."""
    return os.environ.get("QUANTIS_CA_FILE") or None


def token() -> str | None:
    """Return an API key from QUANTIS_API_KEY, or an access token from QUANTIS_TOKEN; people use `quantis login`."""
    return os.environ.get("QUANTIS_API_KEY") or os.environ.get("QUANTIS_TOKEN") or None


def config_dir() -> Path:
    """Return the folder of the credentials file."""
    folder = os.environ.get("QUANTIS_CONFIG_DIR")
    if folder:
        return Path(folder)
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "quantis"


def application_root() -> Path:
    """Return the folder that holds the platform's packages; NotInstalled where there is none."""
    configured = os.environ.get("QUANTIS_APP_ROOT")
    if configured:
        if _is_application(Path(configured)):
            return Path(configured).resolve()
        raise NotInstalled(
            f"QUANTIS_APP_ROOT is {configured!r}, which holds no cluster/; name the application's root"
        )
    for folder in (Path(__file__).resolve().parent.parent, Path.cwd()):
        if _is_application(folder):
            return folder
    raise NotInstalled(
        "only the client is installed here, not the platform; get the application's repository, "
        "run this command in its folder, or name that folder in QUANTIS_APP_ROOT"
    )


def subprocess_environment(root: Path) -> dict[str, str]:
    """Return this process's environment, with the application's packages first."""
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _is_application(folder: Path) -> bool:
    return (folder / "cluster" / "__init__.py").is_file()
