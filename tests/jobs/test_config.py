from __future__ import annotations

from pathlib import Path

import pytest

from jobs.config import read_config
from quantis.errors import InvalidInput

CONFIGS = Path(__file__).resolve().parents[2] / "jobs" / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_when_a_shipped_configuration_is_read_then_it_is_a_valid_request(path: Path) -> None:
    assert read_config(path).dataset == "flights"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("kind: train\ndataset: flights\nmodel: demand\nh: 0\n", "h"),
        ("kind: train\ndataset: flights\nmodel: demand\nentrypoint: rm\n", "entrypoint"),
        ("kind: shell\ndataset: flights\n", "kind"),
        ("[", "not YAML"),
    ],
)
def test_when_a_configuration_is_wrong_then_the_message_names_the_field(
    tmp_path: Path, text: str, named: str
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=named):
        read_config(path)


def test_when_there_is_no_file_then_the_message_names_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"absent\.yaml"):
        read_config(tmp_path / "absent.yaml")
