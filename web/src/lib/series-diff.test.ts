import { expect, test } from "vitest";
import type { StoredSeries } from "../api/types";
import { countFates, diffSeries, filterRows } from "./series-diff";

const day = (n: number) => `2024-01-0${n}T00:00:00Z`;
const stored = (y: Record<number, number | null>, temp: (number | string | null)[] = []): StoredSeries => ({
  unique_id: "a",
  as_of: day(9),
  ds: Object.keys(y).map((n) => day(Number(n))),
  y: Object.values(y),
  exog: { temp },
  futr_ds: [],
  futr_exog: {},
  static: {},
});

test("when values changed, came and went, then each row says so and the counts add up", () => {
  const rows = diffSeries(
    stored({ 1: 1, 2: 2, 3: null, 4: 4 }),
    stored({ 1: 1, 2: 2.5, 3: null, 5: 5, 6: 6 }),
    "y",
  );
  expect(rows.map((row) => [row.time, row.fate])).toEqual(
    ["same", "changed", "same", "vanished", "appeared", "appeared"].map((fate, i) => [
      Date.parse(day(i + 1)),
      fate,
    ]),
  );
  expect(countFates(rows)).toEqual({ same: 2, changed: 1, appeared: 2, vanished: 1, known: 4 });
  expect(filterRows(rows, "known")).toHaveLength(4);
  expect(filterRows(rows, "changed")).toMatchObject([{ was: 2, is: 2.5 }]);
});

test("when a missing value is filled in later, then it changed; a missing row is not a missing value", () => {
  const rows = diffSeries(stored({ 1: null }), stored({ 1: 7, 2: null }), "y");
  expect(rows.map((row) => [row.was, row.is, row.fate])).toEqual([
    [null, 7, "changed"],
    [undefined, null, "appeared"],
  ]);
});

test("when a covariate is compared, then its values are compared and text counts as missing", () => {
  const rows = diffSeries(stored({ 1: 1, 2: 2 }, [10, "mild"]), stored({ 1: 9, 2: 9 }, [10, 12]), "temp");
  expect(rows.map((row) => row.fate)).toEqual(["same", "changed"]);
});
