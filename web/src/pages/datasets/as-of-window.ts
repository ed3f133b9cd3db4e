import type { DatasetVersion } from "../../api/types";
import { shift } from "../../lib/frequency";
import { historyChoices } from "../../lib/history";
import { type AsOfScale, timeAt } from "./as-of-scale";

/** A series of at most this many rows is shown whole unless the address names a window. */
const SMALL_ROWS = 2000;
/** A series of at most this many rows can be read whole at every stop of the slider. */
const WHOLE_ROWS = 20_000;

/** Times on display: a number of steps, or "all". */
export interface TimeWindow {
  name: string;
  label: string;
}

/** List the windows that suit the series, and choose the one with the name, or the usual one. */
export function chooseWindow(
  version: DatasetVersion,
  scale: AsOfScale,
  name: string | null,
): { windows: TimeWindow[]; window: string } {
  const rows = version.rows / Math.max(1, version.series);
  const windows: TimeWindow[] = historyChoices(scale.freq)
    .filter(({ steps }) => steps < scale.steps)
    .map(({ steps, label }) => ({ name: String(steps), label }));
  if (rows <= WHOLE_ROWS) windows.push({ name: "all", label: "All" });
  const usual = rows <= SMALL_ROWS ? windows.at(-1) : (windows[2] ?? windows.at(-1));
  const chosen = windows.find((window) => window.name === name) ?? usual;
  return { windows, window: chosen?.name ?? "all" };
}

/** Return the as-of to open with: some way before the end, so that something became known later. */
export const defaultAsOf = (scale: AsOfScale): number =>
  timeAt(scale, scale.steps - Math.min(Math.round(scale.steps / 4), 168));

/** Return the ends of the chart: of all times, or of a window that ends a little after the as-of. */
export function windowTimes(
  version: DatasetVersion,
  scale: AsOfScale,
  window: string,
  asOf: number,
): [number, number] {
  const [first, last] = [Date.parse(version.first_ds), Date.parse(version.last_ds)];
  if (window === "all") return [first, last];
  const steps = Number(window);
  const middle = Math.min(asOf, timeAt(scale, scale.steps));
  const start = Math.max(first, shift(middle, scale.freq, -steps));
  const end = Math.min(last, shift(start, scale.freq, Math.round(steps * 1.25)));
  return [start, Math.max(start, end)];
}
