import type { Dataset, DatasetVersion, Model, ModelVersion } from "../../api/types";
import { parseFrequency, shift } from "../../lib/frequency";
import { DAY, durationMs, floorHour, toIso } from "../../lib/time";

/** Question that the explorer's address holds. */
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

/**
 * Return the as-of to open with: now for a dataset that still grows; for one that ended, a week (or one
 * horizon of longer steps) before its end became known, so that there are actuals to compare with.
 */
export function defaultAsOf(dataset: Dataset, version: DatasetVersion, h: number, now = Date.now()): string {
  const known = Date.parse(version.last_ds) + durationMs(dataset.publication_lag);
  const freq = parseFrequency(version.freq);
  const growing = now - known < 2 * Math.abs(shift(0, freq, 1)) + DAY;
  if (growing) return toIso(floorHour(now));
  const subdaily = ["s", "min", "h"].includes(freq.unit);
  return toIso(floorHour(subdaily ? known - 7 * DAY : shift(known, freq, -h)));
}

export interface ModelOption {
  ref: string;
  label: string;
  version: ModelVersion;
}

/** List every reference to a model of this dataset: by alias first, then by version. */
export function modelOptions(
  models: readonly Model[],
  versions: readonly ModelVersion[],
  dataset: string,
): ModelOption[] {
  const fitting = versions.filter((v) => !v.dataset || v.dataset === dataset);
  return models.flatMap((model) => referencesTo(model, fitting));
}

function referencesTo(model: Model, versions: readonly ModelVersion[]): ModelOption[] {
  const aliased: ModelOption[] = [];
  const numbered: ModelOption[] = [];
  for (const version of versions.filter((v) => v.model === model.name)) {
    for (const alias of version.aliases) {
      const ref = alias === "champion" ? model.name : `${model.name}@${alias}`;
      aliased.push({ ref, label: `${model.name} (${alias})`, version });
    }
    const number = version.version;
    numbered.push({ ref: `${model.name}:${number}`, label: `${model.name} v${number}`, version });
  }
  aliased.sort((a, b) => a.ref.length - b.ref.length);
  return [...aliased, ...numbered];
}

/** Encode a selection as an address; what is empty is left for the defaults. */
export function paramsOf(selection: Selection): URLSearchParams {
  const { dataset, series, model, asOf, h, history, forecast } = selection;
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries({ dataset, series, model, as_of: asOf, h, history, forecast })) {
    if (value) params.set(name, String(value));
  }
  return params;
}
