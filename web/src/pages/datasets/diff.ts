import type { Tone } from "../../components/basics";
import { formatCount, formatValue, plural } from "../../lib/format";
import type { DiffFilter, DiffRow, Fate, FateCounts } from "../../lib/series-diff";
import { DAY, formatDateTime, formatStep } from "../../lib/time";

export const FILTER_LABELS: Record<DiffFilter, string> = {
  known: "Known then",
  changed: "Changed",
  appeared: "Later",
  vanished: "Gone",
};

export const EMPTY_LABELS: Record<DiffFilter, string> = {
  known: "Nothing was known yet.",
  changed: "No value has changed since.",
  appeared: "Nothing became known later.",
  vanished: "Nothing has gone since.",
};

export const FATE_LABELS: Record<Fate, { tone?: Tone; text: string }> = {
  same: { text: "as it is now" },
  changed: { tone: "warn", text: "changed since" },
  appeared: { tone: "accent", text: "known later" },
  vanished: { tone: "bad", text: "gone since" },
};

/** Format the change of a value; empty where none of the two is a number, or nothing changed. */
export function differenceText({ was, is, fate }: DiffRow): string {
  if (fate !== "changed" || typeof was !== "number" || typeof is !== "number") return "";
  const size = formatValue(Math.abs(is - was));
  return is < was ? `−${size}` : `+${size}`;
}

/** Format a row's time with the year, since a series may be long. */
export const rowTime = (time: number, stepMs: number) =>
  stepMs >= DAY ? formatStep(time, stepMs) : formatDateTime(time);

/** `2 changed since, 84 came later, none is gone.` */
export function changesText({ changed, appeared, vanished }: FateCounts): string {
  const gone = vanished ? `${formatCount(vanished)} ${vanished === 1 ? "is" : "are"}` : "none is";
  return `${changed ? formatCount(changed) : "none"} changed since, ${formatCount(appeared)} came later, ${gone} gone.`;
}

interface ChartLabelInputs {
  /** Series, or column of it. */
  subject: string;
  /** As-of in words. */
  when: string;
  counts: FateCounts;
  showLater: boolean;
}

/** Describe the chart in words, for those who do not see it. */
export function chartLabel({ subject, when, counts, showLater }: ChartLabelInputs): string {
  const later = counts.appeared
    ? `${counts.appeared} became known later and are ${showLater ? "dotted" : "hidden"}`
    : "nothing became known later";
  return `${subject} as known at ${when}: ${plural(counts.known, "value")}, ${counts.changed} changed since, ${counts.vanished} gone since, ${later}. The table below holds both values.`;
}
