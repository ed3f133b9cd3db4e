import { expect, test } from "vitest";
import type { SeriesForecast, StoredSeries } from "../api/types";
import { forecastView, quantileValues } from "./forecast-view";
import { parseFrequency } from "./frequency";
import { HOUR, toIso } from "./time";

const START = Date.UTC(2013, 11, 1);
const AS_OF = START + 300 * HOUR;
const freq = parseFrequency("h");

const stored = (from: number, values: (number | null)[]): StoredSeries => ({
  unique_id: "JFK/B6",
  as_of: toIso(AS_OF),
  ds: values.map((_, i) => toIso(START + (from + i) * HOUR)),
  y: values,
  exog: {},
  futr_ds: [],
  futr_exog: {},
  static: {},
});

const entry: SeriesForecast = {
  unique_id: "JFK/B6",
  status: "ok",
  method: "model",
  reason: null,
  detail: null,
  version: null,
  scenario: false,
  calibration: null,
  ds: [300, 301].map((i) => toIso(START + i * HOUR)),
  mean: [9, 9],
  quantiles: { "0.1": [8, 8], "0.5": [10, 10], "0.9": [12, 12], "0.025": [7, 7], "0.975": [13, 13] },
};

test("when a forecast is set against what followed, then steps, actuals, naive and scores agree by hand", () => {
  const known = stored(
    0,
    Array.from({ length: 300 }, (_, i) => i),
  );
  const latest = stored(297, [297, 298, 299, 11, 14]);
  const view = forecastView({
    asOf: toIso(AS_OF),
    freq,
    known,
    latest,
    forecast: entry,
    from: START + 200 * HOUR,
  });
  expect(view.history).toHaveLength(100);
  expect(view.actuals.map(([, y]) => y)).toEqual([11, 14]);
  expect(view.steps).toEqual([
    { time: AS_OF, median: 10, low80: 8, high80: 12, low95: 7, high95: 13, actual: 11, naive: 132 },
    { time: AS_OF + HOUR, median: 10, low80: 8, high80: 12, low95: 7, high95: 13, actual: 14, naive: 133 },
  ]);
  expect(view.accuracy.wape).toBeCloseTo(5 / 25);
  expect(view.accuracy.naiveWape).toBeCloseTo((121 + 119) / 25);
  expect(view.accuracy.coverage80).toBe(0.5);
  expect(view.accuracy.pairs).toBe(2);
});

test("when nothing has followed yet, then there is no score and no actual", () => {
  const view = forecastView({
    asOf: toIso(AS_OF),
    freq,
    known: stored(0, [1, 2, 3]),
    latest: stored(0, [1, 2, 3]),
    forecast: entry,
    from: START,
  });
  expect(view.steps.map((step) => step.actual)).toEqual([null, null]);
  expect(view.accuracy).toEqual({ wape: null, naiveWape: null, coverage80: null, pairs: 0 });
});

test("when quantile keys are written in another way, then they are found all the same", () => {
  const odd = { ...entry, quantiles: { "0.10": [1, 2], "0.5": [3, 4] } };
  expect(quantileValues(odd, 0.1)).toEqual([1, 2]);
  expect(quantileValues(odd, 0.9)).toBeUndefined();
});

test("when no median was asked for, then the mean stands in", () => {
  const bare = { ...entry, quantiles: {} };
  const view = forecastView({
    asOf: toIso(AS_OF),
    freq,
    known: undefined,
    latest: undefined,
    forecast: bare,
    from: START,
  });
  expect(view.steps.map((step) => [step.median, step.low80])).toEqual([
    [9, null],
    [9, null],
  ]);
});
