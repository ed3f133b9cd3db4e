"""The data check on any table at all: a report, or a panel that keeps its contract; never another error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from quantis.types.datasets import CheckReport, DatasetSpec, Roles
from quantis.types.findings import Severity
from quantis.validation.panel_check import check_panel, detect_spec

SPEC = DatasetSpec(
    name="any",
    roles=Roles(futr_exog=("promo",), hist_exog=("temp",), stat_exog=("city",), categorical=("city",)),
)
DAYS = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(9)]

cells = st.one_of(
    st.none(),
    st.sampled_from(
        ["", "a", "=x", "2024-01-01", "2024-01-01T05:00Z", "2024-02-30", "1", "1e400", "inf", "nan", "-0"]
    ),
    st.text(max_size=4),
)


def column(values: st.SearchStrategy[object], kind: pa.DataType) -> st.SearchStrategy[pa.Array]:
    return st.lists(values, min_size=6, max_size=6).map(lambda drawn: pa.array(drawn, kind))


plain = st.one_of(
    column(cells, pa.string()),
    column(st.one_of(st.none(), st.floats(width=32)), pa.float64()),
    column(st.integers(-(2**63), 2**63 - 1), pa.int64()),
    column(st.one_of(st.none(), st.booleans()), pa.bool_()),
    column(st.integers(-(2**62), 2**62), pa.timestamp("us")),
    column(st.integers(0, 9), pa.timestamp("s", "Europe/Paris")),
    column(st.integers(-(2**31), 2**31 - 1), pa.date32()),
    st.just(pa.nulls(6)),
)
ids = st.one_of(plain, st.just(pa.array(["a"] * 6)))
moments = st.one_of(plain, st.permutations(DAYS).map(lambda moments: pa.array(moments[:6])))


@settings(max_examples=300, deadline=None)
@given(
    ids, moments, plain, plain, plain, plain, st.one_of(st.none(), plain), st.sampled_from([None, "D", "MS"])
)
def test_when_any_table_is_checked_then_it_is_reported_or_its_panel_keeps_the_contract(
    ids: pa.Array, ds: pa.Array, y: pa.Array, promo: pa.Array, temp: pa.Array, city: pa.Array,
    known_at: pa.Array | None, freq: str | None,
) -> None:  # fmt: skip
    columns = {"unique_id": ids, "ds": ds, "y": y, "promo": promo, "temp": temp, "city": city}
    if known_at is not None:
        columns["known_at"] = known_at
    spec = SPEC.model_copy(update={"freq": freq})
    detect_spec(pa.table(columns), "any")
    report, panel = check_panel(pa.table(columns), spec, file="any")
    assert CheckReport.model_validate_json(report.model_dump_json()) == report
    assert (panel is None) == (report.outcome == "reject")
    if panel is None:
        assert any(finding.severity is Severity.error for finding in report.findings)
        return
    keys = list(zip(panel.target["unique_id"].to_pylist(), panel.target["ds"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    assert np.isfinite(panel.target["y"].drop_null().to_numpy()).all()
    assert panel.static["unique_id"].to_pylist() == sorted(set(panel.static["unique_id"].to_pylist()))
