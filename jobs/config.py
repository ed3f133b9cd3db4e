"""Job requests from YAML files: the same fields as `POST /v1/jobs`."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from quantis.errors import InvalidInput
from quantis.types.job_specs import JobSpec
from quantis.types.jobs import JobRequest


def read_config(path: Path) -> JobSpec:
    """Read the job specification of a file; InvalidInput names the invalid field."""
    try:
        return JobRequest(spec=yaml.safe_load(path.read_text())).spec
    except OSError as error:
        raise InvalidInput(f"the configuration {path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"the configuration {path} is not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"][1:])
        raise InvalidInput(f"the configuration {path}: {field}: {first['msg']}") from error
