"""Time zones are names of the IANA database that mean the same on every machine."""

from __future__ import annotations

from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quantis.types.datasets import DatasetSpec
from quantis.types.reading import ReadOptions

MACHINE = [
    "localtime",
    "Factory",
    "posixrules",
    "right/UTC",
    "right/Europe/Berlin",
    "posix/UTC",
    "posix/Asia/Tokyo",
]


def declared(zone: str) -> str:
    return DatasetSpec.model_validate({"name": "sales", "freq": "D", "time_zone": zone}).time_zone


@pytest.mark.parametrize("zone", [*MACHINE, "", "/etc/localtime", "../UTC", "Europe", "UTC\x00", "tzdata.zi"])
def test_when_a_zone_means_what_the_machine_is_set_to_then_it_is_refused_with_a_remedy(zone):
    for model, body in ((DatasetSpec, {"name": "sales", "freq": "D"}), (ReadOptions, {})):
        with pytest.raises(ValidationError, match=r"is not known; (did you mean|use a name such as)"):
            model.model_validate({**body, "time_zone": zone})


@pytest.mark.parametrize(
    ("zone", "meant"),
    [("europe/berlin", "Europe/Berlin"), ("Berlin", "Europe/Berlin"), ("Europe/Pariss", "Europe/Paris"),
     ("America/New York", "America/New_York"), ("Tokio", "Asia/Tokyo"), ("utc", "UTC")],
)  # fmt: skip
def test_when_a_zone_is_misspelt_then_the_refusal_suggests_the_one_that_was_meant(zone, meant):
    with pytest.raises(ValidationError, match=f"did you mean {meant}\\?"):
        declared(zone)


@given(st.sampled_from(sorted(available_timezones() - set(MACHINE))))
def test_when_a_zone_is_in_the_database_then_it_is_taken_as_it_is(zone):
    assert declared(zone) == zone == ZoneInfo(zone).key
    assert ReadOptions(time_zone=zone).time_zone == zone
