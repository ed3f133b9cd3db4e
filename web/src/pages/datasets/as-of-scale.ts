import type { DatasetVersion } from "../../api/types";
import { type Frequency, parseFrequency, season, shift, stepMs } from "../../lib/frequency";
import { DAY, durationMs, formatDate, HOUR, timeTicks } from "../../lib/time";

/** A moment after the last value became known that is worth a stop: a later version, or now. */
export interface Anchor {
  time: number;
  name: string;
}

/**
 * The places of the as-of slider. One place for each step, at the moment when its value became known;
 * then, much closed up, the time from the last of them to now, with a stretch for each anchor.
 */
export interface AsOfScale {
  first: number;
  lag: number;
  freq: Frequency;
  /** Places of the steps are 0 to this. */
  steps: number;
  anchors: Anchor[];
  /** Places in the stretch of one anchor, a multiple of `STOPS`. */
  stretch: number;
  max: number;
}

const STOPS = 10;
const MOST_ANCHORS = 6;

type Span = Pick<DatasetVersion, "first_ds" | "last_ds" | "freq">;
type Written = Pick<DatasetVersion, "number" | "created_at">;

export function asOfScale(span: Span, publicationLag: string, versions: Written[], now: number): AsOfScale {
  const [first, lag, freq] = [
    Date.parse(span.first_ds),
    durationMs(publicationLag),
    parseFrequency(span.freq),
  ];
  const last = Math.max(first, Math.min(Date.parse(span.last_ds), now - lag));
  const steps = wholeSteps(first, last, freq);
  const end = shift(first, freq, steps) + lag;
  const later = versions
    .map((v) => ({ time: Date.parse(v.created_at), name: `v${v.number}` }))
    .filter(({ time }) => time > end && time < now)
    .sort((a, b) => a.time - b.time)
    .slice(-MOST_ANCHORS);
  const anchors = now > end ? [...later, { time: now, name: "now" }] : [];
  const stretch = STOPS * Math.max(1, Math.round(steps / 160));
  return { first, lag, freq, steps, anchors, stretch, max: steps + anchors.length * stretch };
}

/** How many whole steps lead from one time to another. */
function wholeSteps(from: number, to: number, freq: Frequency): number {
  let steps = Math.max(0, Math.round((to - from) / stepMs(freq)));
  while (steps > 0 && shift(from, freq, steps) > to) steps -= 1;
  while (shift(from, freq, steps + 1) <= to) steps += 1;
  return steps;
}

const stepTime = (s: AsOfScale, step: number) => shift(s.first, s.freq, step) + s.lag;

/** Where the stretch of an anchor begins and ends in time. */
const stretchOf = (s: AsOfScale, i: number): [number, number] => [
  s.anchors[i - 1]?.time ?? stepTime(s, s.steps),
  s.anchors[i]?.time ?? stepTime(s, s.steps),
];

/** The moment at a place. Between anchors it is a round one. */
export function timeAt(s: AsOfScale, place: number): number {
  const at = Math.max(0, Math.min(s.max, Math.round(place)));
  if (at <= s.steps) return stepTime(s, at);
  const i = Math.ceil((at - s.steps) / s.stretch) - 1;
  const [from, to] = stretchOf(s, i);
  const share = (at - s.steps - i * s.stretch) / s.stretch;
  if (share === 1) return to;
  const grain = to - from > 40 * DAY ? DAY : to - from > 2 * DAY ? HOUR : 60_000;
  return Math.max(from, Math.round((from + share * (to - from)) / grain) * grain);
}

/** The place of a moment; what lies outside gets the nearest end. */
export function placeOf(s: AsOfScale, time: number): number {
  if (time <= stepTime(s, s.steps)) return Math.max(0, wholeSteps(s.first, time - s.lag, s.freq));
  const i = s.anchors.findIndex((anchor) => time <= anchor.time);
  if (i < 0) return s.max;
  const [from, to] = stretchOf(s, i);
  return s.steps + Math.round((i + (time - from) / (to - from)) * s.stretch);
}

const MOVES: Record<string, 1 | -1> = {
  ArrowRight: 1,
  ArrowUp: 1,
  ArrowLeft: -1,
  ArrowDown: -1,
  PageUp: 1,
  PageDown: -1,
};

/** Where a key leads: one step, or one season with Page Up and Page Down. Null for other keys. */
export function placeAfter(s: AsOfScale, place: number, key: string): number | null {
  const way = MOVES[key];
  if (!way) return null;
  const many = key.startsWith("Page") ? Math.max(2, season(s.freq).steps) : 1;
  const stop = s.stretch / STOPS;
  const later = place > s.steps || (place === s.steps && way > 0);
  const next = later ? place + way * stop * (many > 1 ? STOPS : 1) : place + way * many;
  // Coming from one scale into the other, stop at the border.
  const crosses = place !== s.steps && place > s.steps !== next > s.steps;
  return Math.max(0, Math.min(s.max, crosses ? s.steps : next));
}

/** A word below the slider. */
export interface Mark {
  share: number;
  label: string;
  anchor: boolean;
}

export function marksOf(s: AsOfScale, most: number): Mark[] {
  const share = (place: number) => (s.max ? place / s.max : 0);
  const [from, to] = [stepTime(s, 0), stepTime(s, s.steps)];
  const ticks = timeTicks(from, to, most);
  const near = 0.05;
  const border = share(s.steps);
  const begin = { time: from, label: formatDate(from) };
  // The first mark names the year, which the others leave out.
  const dated = [begin, ...ticks.filter(({ time }) => share(placeOf(s, time)) > 2 * near)];
  return [
    ...dated
      .map(({ time, label }) => ({ share: share(placeOf(s, time)), label, anchor: false }))
      .filter((mark, i) => i === 0 || mark.share < border - near || s.anchors.length === 0),
    ...s.anchors.map(({ name }, i) => ({
      share: share(s.steps + (i + 1) * s.stretch),
      label: name,
      anchor: true,
    })),
  ];
}
