import { DAY, HOUR } from "./time";

/** Frequency by Nixtla's aliases: a count and a unit, as in the server's `quantis/frequency.py`. */
export interface Frequency {
  count: number;
  unit: string;
}

interface Season {
  steps: number;
  label: string;
}

const UNIT_MS: Record<string, number> = { s: 1000, min: 60_000, h: HOUR, D: DAY, W: 7 * DAY, i: 1000 };
const UNIT_MONTHS: Record<string, number> = { MS: 1, QS: 3, YS: 12, ME: 1, QE: 3, YE: 12 };
const SEASONS: Record<string, Season> = {
  s: { steps: 60, label: "same second of the last minute" },
  min: { steps: 1440, label: "same minute yesterday" },
  h: { steps: 168, label: "same hour last week" },
  D: { steps: 7, label: "same weekday last week" },
  W: { steps: 52, label: "same week last year" },
  MS: { steps: 12, label: "same month last year" },
  QS: { steps: 4, label: "same quarter last year" },
  B: { steps: 5, label: "same weekday last week" },
  ME: { steps: 12, label: "same month last year" },
  QE: { steps: 4, label: "same quarter last year" },
};

export function parseFrequency(alias: string): Frequency {
  if (/^\d+$/.test(alias)) return { count: Number(alias), unit: "i" }; // counted steps, stored as seconds
  const match = /^(\d*)(s|min|h|D|B|W|MS|ME|QS|QE|YS|YE)$/.exec(alias);
  return match ? { count: Number(match[1] || 1), unit: match[2] ?? "h" } : { count: 1, unit: "h" };
}

/** Return a step's length in ms; months count as 30.44 days, for layout only. */
export function stepMs({ count, unit }: Frequency): number {
  if (unit === "B") return count * 1.4 * DAY;
  return count * (UNIT_MS[unit] ?? (UNIT_MONTHS[unit] ?? 1) * 30.44 * DAY);
}

/** Move a time by whole steps on the UTC calendar. */
export function shift(time: number, { count, unit }: Frequency, steps: number): number {
  const fixed = UNIT_MS[unit];
  if (fixed) return time + steps * count * fixed;
  if (unit === "B") return shiftBusiness(time, steps * count);
  const date = new Date(time);
  const months = steps * count * (UNIT_MONTHS[unit] ?? 1);
  if (!unit.endsWith("E")) return date.setUTCMonth(date.getUTCMonth() + months);
  return date.setUTCMonth(date.getUTCMonth() + months + 1, 0); // day 0 is the last of the month before
}

function shiftBusiness(time: number, days: number): number {
  const date = new Date(time);
  for (let left = Math.abs(days); left > 0; ) {
    date.setUTCDate(date.getUTCDate() + Math.sign(days));
    if (date.getUTCDay() % 6 !== 0) left -= 1;
  }
  return date.getTime();
}

/** Return the season that a naive forecast repeats; the last value when the frequency has none. */
export function season({ count, unit }: Frequency): Season {
  const usual = SEASONS[unit];
  if (!usual || usual.steps % count !== 0) return { steps: 1, label: "last value" };
  return { steps: usual.steps / count, label: usual.label };
}
