import type { SeriesForecast, StoredSeries } from "../api/types";
import { coverage, type Point, seasonalNaive, wape } from "./accuracy";
import { type Frequency, stepMs } from "./frequency";

/** One step of the horizon, as the chart, the table and the CSV show it. */
export interface ForecastStep {
  time: number;
  median: number | null;
  low80: number | null;
  high80: number | null;
  low95: number | null;
  high95: number | null;
  actual: number | null;
  naive: number | null;
}

export interface Accuracy {
  wape: number | null;
  naiveWape: number | null;
  coverage80: number | null;
  pairs: number;
}

export interface ForecastView {
  history: Point[];
  /** Values after as-of, as far as they are stored by now. */
  actuals: Point[];
  steps: ForecastStep[];
  stepMs: number;
  accuracy: Accuracy;
}

interface ViewInputs {
  asOf: string;
  freq: Frequency;
  /** Series as of then. */
  known: StoredSeries | undefined;
  /** Series as of now. */
  latest: StoredSeries | undefined;
  forecast: SeriesForecast | undefined;
  /** Start of the history on display; more of it is read for the naive forecast. */
  from: number;
}

const pointsOf = (series: StoredSeries | undefined): Point[] =>
  series ? series.ds.map((ds, i) => [Date.parse(ds), series.y[i] ?? null] as const) : [];

/** Return the values of one quantile level, whatever way its key is written. */
export function quantileValues(forecast: SeriesForecast, level: number): number[] | undefined {
  const key = Object.keys(forecast.quantiles).find((name) => Math.abs(Number(name) - level) < 1e-9);
  return key === undefined ? undefined : forecast.quantiles[key];
}

/** Join the two reads of a series and its forecast into what is on display. */
export function forecastView({ asOf, freq, known, latest, forecast, from }: ViewInputs): ForecastView {
  const all = pointsOf(known).filter(([time]) => time <= Date.parse(asOf));
  const last = all.at(-1)?.[0] ?? Number.NEGATIVE_INFINITY;
  const actuals = pointsOf(latest).filter(([time]) => time > last);
  const steps = forecast ? stepsOf(forecast, all, actuals, freq) : [];
  return {
    history: all.filter(([time]) => time >= from),
    actuals,
    steps,
    stepMs: stepMs(freq),
    accuracy: accuracyOf(steps),
  };
}

function stepsOf(
  forecast: SeriesForecast,
  known: Point[],
  actuals: Point[],
  freq: Frequency,
): ForecastStep[] {
  const times = forecast.ds.map((ds) => Date.parse(ds));
  const actualAt = new Map(actuals);
  const naive = seasonalNaive(known, times, freq);
  const [median, low80, high80, low95, high95] = [0.5, 0.1, 0.9, 0.025, 0.975].map((q) =>
    quantileValues(forecast, q),
  );
  return times.map((time, i) => ({
    time,
    median: median?.[i] ?? forecast.mean[i] ?? null,
    low80: low80?.[i] ?? null,
    high80: high80?.[i] ?? null,
    low95: low95?.[i] ?? null,
    high95: high95?.[i] ?? null,
    actual: actualAt.get(time) ?? null,
    naive: naive[i] ?? null,
  }));
}

function accuracyOf(steps: ForecastStep[]): Accuracy {
  const actual = steps.map((s) => s.actual);
  return {
    wape: wape(
      actual,
      steps.map((s) => s.median),
    ),
    naiveWape: wape(
      actual,
      steps.map((s) => s.naive),
    ),
    coverage80: coverage(
      actual,
      steps.map((s) => s.low80),
      steps.map((s) => s.high80),
    ),
    pairs: actual.filter((y) => y !== null).length,
  };
}
