import type { StoredSeries } from "../api/types";

/** Fate of a row between the as-of and now. */
export type Fate = "same" | "changed" | "appeared" | "vanished";

/** Value of one time, as known then and as known now. */
export interface DiffRow {
  time: number;
  /** Undefined where there was no row; null is a missing value. */
  was: number | null | undefined;
  is: number | null | undefined;
  fate: Fate;
}

/** Part of a stored series that is compared. */
export type SeriesValues = Pick<StoredSeries, "ds" | "y" | "exog">;

/** List every row that was known then or is known now, oldest first. */
export function diffSeries(then: SeriesValues, now: SeriesValues, column: string): DiffRow[] {
  const [before, after] = [valuesByTime(then, column), valuesByTime(now, column)];
  const times = [...new Set([...before.keys(), ...after.keys()])].sort((a, b) => a - b);
  return times.map((time) => {
    const [was, is] = [before.get(time), after.get(time)];
    return { time, was, is, fate: fateOf(was, is) };
  });
}

/** Map one column by time; text counts as missing. */
function valuesByTime(series: SeriesValues, column: string): Map<number, number | null> {
  const values = column === "y" ? series.y : (series.exog[column] ?? []);
  return new Map(
    series.ds.map((ds, i) => {
      const value = values[i];
      return [Date.parse(ds), typeof value === "number" ? value : null];
    }),
  );
}

function fateOf(was: DiffRow["was"], is: DiffRow["is"]): Fate {
  if (was === undefined) return "appeared";
  if (is === undefined) return "vanished";
  return was === is ? "same" : "changed";
}

/** Rows by fate; `known` counts those that were known then. */
export type FateCounts = Record<Fate, number> & { known: number };

export function countFates(rows: readonly DiffRow[]): FateCounts {
  const counts: FateCounts = { same: 0, changed: 0, appeared: 0, vanished: 0, known: 0 };
  for (const { fate } of rows) counts[fate] += 1;
  counts.known = rows.length - counts.appeared;
  return counts;
}

/** Rows that were known then, or those of one fate. */
export type DiffFilter = "known" | "changed" | "appeared" | "vanished";

export const filterRows = (rows: readonly DiffRow[], filter: DiffFilter): DiffRow[] =>
  rows.filter((row) => (filter === "known" ? row.fate !== "appeared" : row.fate === filter));
