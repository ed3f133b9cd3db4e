import type { Frequency } from "./frequency";

/** A length of history that a chart offers. */
export interface HistoryChoice {
  steps: number;
  label: string;
}

const CHOICES: Record<string, [number, string][]> = {
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

/** Lengths of history that suit the frequency, the shortest first. */
export function historyChoices(freq: Frequency): HistoryChoice[] {
  const usual = freq.count === 1 ? CHOICES[freq.unit] : undefined;
  const choices = usual ?? [50, 100, 200, 400].map((steps): [number, string] => [steps, `${steps} steps`]);
  return choices.map(([steps, label]) => ({ steps, label }));
}

/** Shortest history that leaves the horizon a quarter of the chart. */
export function defaultHistory(freq: Frequency, h: number): number {
  const choices = historyChoices(freq);
  return (choices.find(({ steps }) => steps >= 3 * h) ?? choices.at(-1))?.steps ?? 3 * h;
}
