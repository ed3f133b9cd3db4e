/** Times in UTC, the zone in which they are stored and shown. */

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;

const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const twoDigits = (value: number) => String(value).padStart(2, "0");

export const formatDate = (time: number | string) => {
  const date = new Date(time);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
};

export const formatClock = (time: number | string) => {
  const date = new Date(time);
  return `${twoDigits(date.getUTCHours())}:${twoDigits(date.getUTCMinutes())}`;
};

/** Format the time of day: `05:00:09`. */
export const formatTime = (time: number | string) =>
  `${formatClock(time)}:${twoDigits(new Date(time).getUTCSeconds())}`;

/** Format date and time: `25 Dec 2013, 05:00`. */
export const formatDateTime = (time: number | string) => `${formatDate(time)}, ${formatClock(time)}`;

/** Format the time of a step: `Wed 25 Dec, 05:00`, or the date alone for steps of a day or more. */
export function formatStep(time: number, stepMs: number): string {
  const date = new Date(time);
  if (stepMs >= 28 * DAY) return `${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
  const day = `${WEEKDAYS[date.getUTCDay()]} ${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
  return stepMs >= DAY ? `${day} ${date.getUTCFullYear()}` : `${day}, ${formatClock(time)}`;
}

/** Read the value of a datetime-local field as UTC; null when it is not a time. */
export function parseField(value: string): string | null {
  const time = Date.parse(`${value}Z`);
  return Number.isNaN(time) ? null : toIso(time);
}

/** Write a time as the value of a datetime-local field. */
export const toField = (iso: string) => new Date(iso).toISOString().slice(0, 16);

/** Write a time as the API does: ISO 8601 without milliseconds. */
export const toIso = (time: number) => new Date(time).toISOString().replace(/\.000Z$/, "Z");

export const floorHour = (time: number) => Math.floor(time / HOUR) * HOUR;
export const ceilHour = (time: number) => Math.ceil(time / HOUR) * HOUR;

export function formatSeconds(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h${minutes % 60 ? ` ${minutes % 60} min` : ""}`;
}

/** Format a wait: `45 seconds`, `about 4 minutes`. */
export const formatWait = (seconds: number) => {
  if (seconds < 100) return seconds === 1 ? "a second" : `${seconds} seconds`;
  return `about ${Math.ceil(seconds / 60)} minutes`;
};

/** Format an age: `3 min ago`. */
export function formatAge(iso: string, now = Date.now()): string {
  const seconds = Math.max(0, (now - Date.parse(iso)) / 1000);
  if (seconds < 45) return "just now";
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min ago`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} d ago`;
}

export interface Tick {
  time: number;
  label: string;
  major: boolean;
}

const TICK_STEPS = [HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY];

/** Choose at most `max` round times in a span; whole days, months or years stand out. */
export function timeTicks(from: number, to: number, max: number): Tick[] {
  const step = TICK_STEPS.find((candidate) => (to - from) / candidate <= max);
  if (!step) return monthTicks(from, to, max);
  const ticks: Tick[] = [];
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
    const midnight = time % DAY === 0;
    const date = new Date(time);
    const day = `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
    ticks.push({ time, label: midnight ? day : formatClock(time), major: step < DAY && midnight });
  }
  return ticks;
}

function monthTicks(from: number, to: number, max: number): Tick[] {
  const months = (to - from) / (30.44 * DAY);
  const every = [1, 3, 6, 12, 24, 60, 120, 240].find((candidate) => months / candidate <= max) ?? 600;
  const first = new Date(from);
  const ticks: Tick[] = [];
  const start = Math.ceil((first.getUTCFullYear() * 12 + first.getUTCMonth()) / every) * every;
  for (let month = start; ; month += every) {
    const time = Date.UTC(Math.floor(month / 12), month % 12, 1);
    if (time > to) return ticks;
    if (time < from) continue;
    const year = Math.floor(month / 12);
    const january = month % 12 === 0;
    ticks.push({
      time,
      label: january ? String(year) : (MONTHS[month % 12] ?? ""),
      major: january && every < 12,
    });
  }
}

export interface Duration {
  count: number;
  unit: "hours" | "days";
}

/** Write a duration by ISO 8601, as the API takes a publication lag: `PT1H`, `P2D`. */
export const toIsoDuration = ({ count, unit }: Duration) => (unit === "hours" ? `PT${count}H` : `P${count}D`);

const DURATION = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?)?$/;

/** Return the length of an ISO 8601 duration; 0 for other text. */
export function durationMs(iso: string): number {
  const [days = 0, hours = 0, minutes = 0, seconds = 0] = (DURATION.exec(iso) ?? [])
    .slice(1)
    .map((part) => Number(part ?? 0));
  return days * DAY + hours * HOUR + minutes * 60_000 + seconds * 1000;
}

/** Format an ISO 8601 duration: `PT1H` -> `1 h`, `P1DT2H` -> `1 d 2 h`. */
export function formatDuration(iso: string): string {
  const length = durationMs(iso);
  const parts = [
    [Math.floor(length / DAY), "d"],
    [Math.floor((length % DAY) / HOUR), "h"],
    [Math.floor((length % HOUR) / 60_000), "min"],
    [(length % 60_000) / 1000, "s"],
  ] as const;
  return (
    parts
      .filter(([count]) => count > 0)
      .map(([count, unit]) => `${count} ${unit}`)
      .join(" ") || "none"
  );
}
