"""The table of model families, and forecasters made of their parts."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import cast

from models.families.ensemble import Ensemble
from models.forecaster import Forecaster, Parts
from quantis.errors import InvalidInput, Unavailable
from quantis.panel import Task
from quantis.types.job_specs import Family

FAMILIES = {
    "seasonal_naive": "models.families.naive:SeasonalNaive",
    "last_value": "models.families.naive:LastValue",
    "baseline": "models.families.naive:ColumnForecast",
    "theta": "models.families.theta:Theta",
    "statistical": "models.families.statistical:Statistical",
    "boosting": "models.families.boosting.model:Boosting",
    "boosting_recent": "models.families.boosting.model:RecentBoosting",
    "boosting_plain": "models.families.boosting.model:PlainBoosting",
    "ensemble": "models.families.ensemble:Ensemble",
    "tft": "models.families.tft.forecaster:TftForecaster",
    "tft_converted": "models.families.tft.pytorch_forecasting.converted:ConvertedTft",
}


def known_families(operator_families: Mapping[str, str]) -> dict[str, str]:
    """Return the families of the platform and the operator's, each as `module:Class`."""
    if clashes := sorted(operator_families.keys() & FAMILIES.keys()):
        raise InvalidInput(f"family {clashes[0]!r} is one of the platform's own; give yours another name")
    return FAMILIES | dict(operator_families)


def require_families(names: Iterable[str], families: Mapping[str, str]) -> None:
    """Raise InvalidInput for a family that a job cannot ask for."""
    choices = [*Family, *(name for name in families if name not in FAMILIES)]
    for name in names:
        if name not in choices:
            close = get_close_matches(name, choices, n=1)
            hint = f"did you mean {str(close[0])!r}? " if close else ""
            raise InvalidInput(
                f"family {name!r} is not known here; {hint}choose among {', '.join(sorted(choices))}, "
                "or have an operator allow it with QUANTIS_MODEL_MODULES"
            )


def family_class(family: str, families: Mapping[str, str] = FAMILIES) -> type[Forecaster]:
    """Return the forecaster class of a family; its libraries are imported by this call, not earlier."""
    if family not in families:
        raise InvalidInput(f"family {family!r} is not one of {', '.join(families)}")
    module, _, name = families[family].partition(":")
    try:
        model_class = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise Unavailable(f"family {family!r} cannot be loaded from {families[family]}: {error}") from error
    if model_class.family != family:
        raise Unavailable(
            f"{families[family]} calls itself {model_class.family!r}, not {family!r}; use one name"
        )
    return cast(type[Forecaster], model_class)


def restore(family: str, task: Task, parts: Parts, families: Mapping[str, str] = FAMILIES) -> Forecaster:
    """Return the forecaster of these parts; members of an ensemble are looked up in `families`, too."""
    model_class = family_class(family, families)
    if issubclass(model_class, Ensemble):
        return model_class.from_parts(task, parts, partial(restore, families=families))
    return model_class.from_parts(task, parts)
