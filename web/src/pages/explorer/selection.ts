import type { Dataset, DatasetVersion, Model, ModelVersion } from "../../api/types";
import { type Frequency, parseFrequency, shift } from "../../lib/frequency";
import { DAY, durationMs, floorHour, toIso } from "../../lib/time";

/** What the explorer's address says. */
export interface Selection {
  dataset: string;
  series: string;
  model: string;
  asOf: string;
  h: number;
  /** Steps of history on display. */
  history: number;
  forecast: string | null;
}

export interface HistoryChoice {
  steps: number;
  label: string;
}

const HISTORY: Record<string, [number, string][]> = {
  h: [
    [72, "3 d"],
    [168, "7 d"],
    [336, "14 d"],
    [672, "28 d"],
  ],
  D: [
    [28, "4 w"],
    [91, "13 w"],
    [365, "1 y"],
    [1095, "3 y"],
  ],
  W: [
    [26, "½ y"],
    [52, "1 y"],
    [156, "3 y"],
    [520, "10 y"],
  ],
  MS: [
    [24, "2 y"],
    [60, "5 y"],
    [120, "10 y"],
    [360, "30 y"],
  ],
};

export function historyChoices(freq: Frequency): HistoryChoice[] {
  const usual = freq.count === 1 ? HISTORY[freq.unit] : undefined;
  const choices = usual ?? [50, 100, 200, 400].map((steps): [number, string] => [steps, `${steps} steps`]);
  return choices.map(([steps, label]) => ({ steps, label }));
}

/** The least history that leaves the horizon a quarter of the chart. */
export const defaultHistory = (freq: Frequency, h: number) => {
  const choices = historyChoices(freq);
  return (choices.find(({ steps }) => steps >= 3 * h) ?? choices.at(-1))?.steps ?? 3 * h;
};

/**
 * Where to look first: now for a living dataset; for one that ended, a week (or one horizon of longer
 * steps) before its end as it became known, so that there are actuals to compare with.
 */
export function defaultAsOf(dataset: Dataset, version: DatasetVersion, h: number, now = Date.now()): string {
  const last = Date.parse(version.last_ds);
  const known = last + durationMs(dataset.publication_lag);
  const freq = parseFrequency(version.freq);
  const living = now - known < 2 * Math.abs(shift(0, freq, 1)) + DAY;
  if (living) return toIso(floorHour(now));
  const fine = ["s", "min", "h"].includes(freq.unit);
  return toIso(floorHour(fine ? known - 7 * DAY : shift(known, freq, -h)));
}

export interface ModelOption {
  ref: string;
  label: string;
  version: ModelVersion;
}

/** Every way to name a model of this dataset: by alias first, then by version. */
export function modelOptions(
  models: readonly Model[],
  versions: readonly ModelVersion[],
  dataset: string,
): ModelOption[] {
  const fitting = versions.filter((v) => !v.dataset || v.dataset === dataset);
  return models.flatMap((model) => {
    const own = fitting.filter((v) => v.model === model.name);
    const aliased = own.flatMap((version) =>
      version.aliases.map((alias) => ({
        ref: alias === "champion" ? model.name : `${model.name}@${alias}`,
        label: `${model.name} (${alias})`,
        version,
      })),
    );
    aliased.sort((a, b) => a.ref.length - b.ref.length);
    const numbered = own.map((version) => ({
      ref: `${model.name}:${version.version}`,
      label: `${model.name} v${version.version}`,
      version,
    }));
    return [...aliased, ...numbered];
  });
}
