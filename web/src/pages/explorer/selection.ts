import type { Dataset, DatasetVersion, Forecast, Model, ModelVersion, SeriesForecast } from "../../api/types";
import { parseFrequency, shift } from "../../lib/frequency";
import { ceilHour, DAY, durationMs, floorHour, toIso } from "../../lib/time";

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
 * Return the as-of to open with, from which the forecast follows the last value: now for a dataset that still
 * grows; for one that ended, the hour in which its last value became known.
 */
export function defaultAsOf(dataset: Dataset, version: DatasetVersion, now = Date.now()): string {
  const known = ceilHour(Date.parse(version.last_ds) + durationMs(dataset.publication_lag));
  if (known > floorHour(now)) return toIso(now);
  const step = Math.abs(shift(0, parseFrequency(version.freq), 1));
  return toIso(now - known < 2 * step + DAY ? floorHour(now) : known);
}

/**
 * Tell whether a version had learned from the days after an origin: a comparison with them would be praise for what
 * it was shown. Undefined where it is not recorded what the version knew.
 */
export function hasLearned(asOf: string, version: ModelVersion | undefined): boolean | undefined {
  return version?.as_of ? Date.parse(asOf) < Date.parse(version.as_of) : undefined;
}

/** Find the version that answered a series; undefined when it is not there any more. */
export const answering = (
  versions: readonly ModelVersion[],
  { model }: Pick<Forecast, "model">,
  entry: Pick<SeriesForecast, "version">,
) => versions.find((each) => each.model === model.name && each.version === (entry.version ?? model.version));

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
