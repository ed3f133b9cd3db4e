import { type Frequency, season, shift } from "./frequency";

export type Point = readonly [time: number, value: number | null];

/** Weighted absolute percentage error over the times both have: sum |y - f| / sum |y|. Null when undefined. */
export function wape(
  actual: readonly (number | null)[],
  forecast: readonly (number | null)[],
): number | null {
  let error = 0;
  let total = 0;
  let pairs = 0;
  actual.forEach((y, i) => {
    const f = forecast[i];
    if (y === null || f === null || f === undefined) return;
    error += Math.abs(y - f);
    total += Math.abs(y);
    pairs += 1;
  });
  return pairs > 0 && total > 0 ? error / total : null;
}

/** Return the share of actuals inside [low, high]; null without any pair. */
export function coverage(
  actual: readonly (number | null)[],
  low: readonly (number | null)[],
  high: readonly (number | null)[],
): number | null {
  const inside = actual.flatMap((y, i) => {
    const [from, to] = [low[i], high[i]];
    return y === null || from == null || to == null ? [] : [y >= from && y <= to];
  });
  return inside.length ? inside.filter(Boolean).length / inside.length : null;
}

/** Forecast each time by the value one season earlier, or as many seasons earlier as it takes to find one. */
export function seasonalNaive(
  known: readonly Point[],
  times: readonly number[],
  freq: Frequency,
): (number | null)[] {
  const values = new Map(known.filter(([, y]) => y !== null));
  const first = known[0]?.[0] ?? Number.POSITIVE_INFINITY;
  const { steps } = season(freq);
  return times.map((time) => {
    for (let past = shift(time, freq, -steps); past >= first; past = shift(past, freq, -steps)) {
      const value = values.get(past);
      if (value !== undefined && value !== null) return value;
    }
    return null;
  });
}
