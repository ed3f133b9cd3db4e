"""Names of columns and series that the store or the web cannot keep apart are refused (k16, k17)."""

from __future__ import annotations

import pytest

from quantis.types.datasets import DatasetSpec, Roles
from quantis.types.findings import Severity
from tests.quantis.validation.test_panel_check import checked, good


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (("Price", "price"), "columns 'Price' and 'price' differ only by case"),
        (("STRASSE", "straße"), "columns 'STRASSE' and 'straße' differ only by case"),
        (("Größe", "GRÖSSE", "x"), "columns 'Größe' and 'GRÖSSE' differ only by case"),
        (("Y",), "column 'Y' has the name of the store's own 'y'"),
        (("Recorded_At",), "column 'Recorded_At' has the name of the store's own 'recorded_at'"),
        (("given",), "column 'given' has the name of the store's own 'given'"),
    ],
    ids=str,
)
def test_when_names_of_columns_are_one_but_for_case_then_they_are_refused(
    columns: tuple[str, ...], text: str
) -> None:
    spec = DatasetSpec(name="shop", roles=Roles(futr_exog=columns[:1], hist_exog=columns[1:]))
    keys = {name: values for name, values in good().items() if name in ("unique_id", "ds", "y")}
    report, _ = checked({**keys, **{name: [float(i % 5) for i in range(40)] for name in columns}}, spec)
    (finding,) = [finding for finding in report.findings if finding.severity is Severity.error]
    assert (finding.code, text in finding.message) == ("D015", True)
    unused, _ = checked({**keys, **dict.fromkeys(columns, keys["y"])}, DatasetSpec(name="shop"))
    assert unused.outcome == "accept_with_warning"  # they are left out


@pytest.mark.parametrize("name", [".", ".."])
def test_when_no_address_leads_to_an_id_then_it_is_refused(name: str) -> None:
    report, _ = checked(good(("a", name)))
    (finding,) = [finding for finding in report.findings if finding.severity is Severity.error]
    assert (finding.code, finding.series, finding.row) == ("D016", name, 21)
    assert checked(good(("...", "./a", "a..", " .")))[0].outcome == "accept_with_warning"  # D014 alone
