import type { StoredSeries } from "../api/types";

/** What became of a row between then and now. */
export type Fate = "same" | "changed" | "appeared" | "vanished";

export interface Row {
  time: number;
  /** Undefined where there was no row; null is a value that is missing. */
  was: number | null | undefined;
  is: number | null | undefined;
  fate: Fate;
}

type Values = Pick<StoredSeries, "ds" | "y" | "exog">;

/** One column of a series, by time; words are left out. */
function valuesOf(series: Values, column: string): Map<number, number | null> {
  const values = column === "y" ? series.y : (series.exog[column] ?? []);
  return new Map(
    series.ds.map((ds, i) => {
      const value = values[i];
      return [Date.parse(ds), typeof value === "number" ? value : null];
    }),
  );
}

function fateOf(was: Row["was"], is: Row["is"]): Fate {
  if (was === undefined) return "appeared";
  if (is === undefined) return "vanished";
  return was === is ? "same" : "changed";
}

/** Every row that was known then or is known now, oldest first. */
export function compare(then: Values, now: Values, column: string): Row[] {
  const [before, after] = [valuesOf(then, column), valuesOf(now, column)];
  return [...new Set([...before.keys(), ...after.keys()])]
    .sort((a, b) => a - b)
    .map((time) => {
      const [was, is] = [before.get(time), after.get(time)];
      return { time, was, is, fate: fateOf(was, is) };
    });
}

export type Counts = Record<Fate, number> & { known: number };

export function countFates(rows: readonly Row[]): Counts {
  const counts: Counts = { same: 0, changed: 0, appeared: 0, vanished: 0, known: 0 };
  for (const { fate } of rows) counts[fate] += 1;
  counts.known = rows.length - counts.appeared;
  return counts;
}

export type Choice = "known" | "changed" | "appeared" | "vanished";

export const chosen = (rows: readonly Row[], choice: Choice): Row[] =>
  rows.filter((row) => (choice === "known" ? row.fate !== "appeared" : row.fate === choice));
