import type { DatasetVersion } from "../../api/types";
import { type Frequency, parseFrequency, season, shift, stepMs } from "../../lib/frequency";
import { DAY, durationMs, formatDate, HOUR, timeTicks } from "../../lib/time";

/** Time after the last value became known that is worth a stop: a later version, or now. */
export interface Anchor {
  time: number;
  name: string;
}

/**
 * Positions of the as-of slider. One position for each step, at the time when its value became known;
 * then, much closed up, the time from the last of them to now, with a stretch for each anchor.
 */
export interface AsOfScale {
  first: number;
  lag: number;
  freq: Frequency;
  /** Positions 0 to this are steps. */
  steps: number;
  anchors: Anchor[];
  /** Positions in the stretch of one anchor, a multiple of `STOPS`. */
  stretch: number;
  max: number;
}

const STOPS = 10;
const MAX_ANCHORS = 6;

type Span = Pick<DatasetVersion, "first_ds" | "last_ds" | "freq">;
type VersionTime = Pick<DatasetVersion, "number" | "created_at">;

export function asOfScale(
  span: Span,
  publicationLag: string,
  versions: VersionTime[],
  now: number,
): AsOfScale {
  const first = Date.parse(span.first_ds);
  const lag = durationMs(publicationLag);
  const freq = parseFrequency(span.freq);
  const last = Math.max(first, Math.min(Date.parse(span.last_ds), now - lag));
  const steps = wholeSteps(first, last, freq);
  const anchors = anchorsAfter(shift(first, freq, steps) + lag, versions, now);
  const stretch = STOPS * Math.max(1, Math.round(steps / 160));
  return { first, lag, freq, steps, anchors, stretch, max: steps + anchors.length * stretch };
}

/** List the latest versions between the end of the steps and now, then now itself. */
function anchorsAfter(end: number, versions: VersionTime[], now: number): Anchor[] {
  if (now <= end) return [];
  const later = versions
    .map((version) => ({ time: Date.parse(version.created_at), name: `v${version.number}` }))
    .filter(({ time }) => time > end && time < now)
    .sort((a, b) => a.time - b.time);
  return [...later.slice(-MAX_ANCHORS), { time: now, name: "now" }];
}

/** Count the whole steps that lead from one time to another. */
function wholeSteps(from: number, to: number, freq: Frequency): number {
  let steps = Math.max(0, Math.round((to - from) / stepMs(freq)));
  while (steps > 0 && shift(from, freq, steps) > to) steps -= 1;
  while (shift(from, freq, steps + 1) <= to) steps += 1;
  return steps;
}

const stepTime = (scale: AsOfScale, step: number) => shift(scale.first, scale.freq, step) + scale.lag;

/** Return the times at the two ends of an anchor's stretch. */
const stretchTimes = (scale: AsOfScale, i: number): [number, number] => [
  scale.anchors[i - 1]?.time ?? stepTime(scale, scale.steps),
  scale.anchors[i]?.time ?? stepTime(scale, scale.steps),
];

/** Return the time at a position; between anchors it is a round one. */
export function timeAt(scale: AsOfScale, position: number): number {
  const { steps, stretch } = scale;
  const index = Math.max(0, Math.min(scale.max, Math.round(position)));
  if (index <= steps) return stepTime(scale, index);
  const anchor = Math.ceil((index - steps) / stretch) - 1;
  const [from, to] = stretchTimes(scale, anchor);
  const share = (index - steps - anchor * stretch) / stretch;
  if (share === 1) return to;
  const grain = grainOf(to - from);
  return Math.max(from, Math.round((from + share * (to - from)) / grain) * grain);
}

/** Return the unit to which times within a stretch of this length are rounded. */
function grainOf(length: number): number {
  if (length > 40 * DAY) return DAY;
  return length > 2 * DAY ? HOUR : 60_000;
}

/** Return the position of a time; one that lies outside gets the nearest end. */
export function positionOf(scale: AsOfScale, time: number): number {
  if (time <= stepTime(scale, scale.steps)) {
    return Math.max(0, wholeSteps(scale.first, time - scale.lag, scale.freq));
  }
  const i = scale.anchors.findIndex((anchor) => time <= anchor.time);
  if (i < 0) return scale.max;
  const [from, to] = stretchTimes(scale, i);
  return scale.steps + Math.round((i + (time - from) / (to - from)) * scale.stretch);
}

const DIRECTIONS: Record<string, 1 | -1> = {
  ArrowRight: 1,
  ArrowUp: 1,
  ArrowLeft: -1,
  ArrowDown: -1,
  PageUp: 1,
  PageDown: -1,
};

/** Return the position after a key: one step on, or one season by Page Up and Down; null for other keys. */
export function positionAfter(scale: AsOfScale, position: number, key: string): number | null {
  const direction = DIRECTIONS[key];
  if (!direction) return null;
  const { steps, stretch } = scale;
  const byPage = key.startsWith("Page");
  const afterSteps = position > steps || (position === steps && direction > 0);
  const stepLength = byPage ? Math.max(2, season(scale.freq).steps) : 1;
  const stopLength = byPage ? stretch : stretch / STOPS;
  const next = position + direction * (afterSteps ? stopLength : stepLength);
  // A move from the steps into the stretches, or back, stops at the border.
  const crosses = position !== steps && position > steps !== next > steps;
  return Math.max(0, Math.min(scale.max, crosses ? steps : next));
}

/** Label below the slider. */
export interface ScaleMark {
  share: number;
  label: string;
  anchor: boolean;
}

const NEAR = 0.05;

/** Place at most `max` dates and all anchors below the slider. */
export function scaleMarks(scale: AsOfScale, max: number): ScaleMark[] {
  const share = (position: number) => (scale.max ? position / scale.max : 0);
  const [from, to] = [stepTime(scale, 0), stepTime(scale, scale.steps)];
  const border = share(scale.steps);
  // The first mark names the year, which the others leave out.
  const dates: ScaleMark[] = [
    { share: share(positionOf(scale, from)), label: formatDate(from), anchor: false },
  ];
  for (const { time, label } of timeTicks(from, to, max)) {
    const mark = { share: share(positionOf(scale, time)), label, anchor: false };
    const crowded = mark.share <= 2 * NEAR || (scale.anchors.length > 0 && mark.share >= border - NEAR);
    if (!crowded) dates.push(mark);
  }
  const anchors = scale.anchors.map(({ name }, i) => ({
    share: share(scale.steps + (i + 1) * scale.stretch),
    label: name,
    anchor: true,
  }));
  return [...dates, ...anchors];
}
