import type { Tick } from "chart.js";
import { timeTicks } from "../lib/time";
import type { Chart, ChartConfiguration } from "./canvas";
import type { Palette } from "./palette";

/** Options of a chart that draws its points as they are, without animation or events of its own. */
export const STILL = {
  responsive: true,
  maintainAspectRatio: false,
  animation: false,
  parsing: false,
  normalized: true,
  events: [],
} as const satisfies ChartConfiguration["options"];

/** Look of a line without points. */
export const THIN_LINE = {
  pointRadius: 0,
  pointHitRadius: 0,
  borderJoinStyle: "round" as const,
  tension: 0,
};

/** Axis of times in UTC, with round ticks as far as there is room. */
export function timeScale(min: number, max: number, c: Palette) {
  const ticks = (width: number) => timeTicks(min, max, Math.max(3, Math.floor(width / 78)));
  return {
    type: "linear" as const,
    min,
    max,
    border: { color: c.line },
    grid: { display: false, drawTicks: true, tickLength: 5, tickColor: c.line },
    afterBuildTicks: (axis: { width: number; ticks: Tick[] }) => {
      axis.ticks = ticks(axis.width).map((t) => ({ value: t.time, label: t.label, major: t.major }));
    },
    ticks: {
      color: (context: { tick?: Tick }) => (context.tick?.major ? c.ink : c.text),
      font: { family: c.font, size: 11.5 },
      maxRotation: 0,
      autoSkip: false,
      callback: (_: unknown, i: number, all: Tick[]) => String(all[i]?.label ?? ""),
    },
  };
}

/** Axis of values: from zero, unless the values keep far away from it. */
export function valueScale(values: readonly (number | null)[], c: Palette) {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const y of values) {
    if (y === null) continue;
    low = Math.min(low, y);
    high = Math.max(high, y);
  }
  return {
    type: "linear" as const,
    beginAtZero: low >= 0 && low < 0.4 * high,
    grace: "6%",
    border: { display: false },
    grid: { color: c.grid, tickLength: 0 },
    ticks: { color: c.text, padding: 10, maxTicksLimit: 7, font: { family: c.font, size: 11.5 } },
  };
}

export const pixelOf = (chart: Chart, time: number) => chart.scales.x?.getPixelForValue(time) ?? 0;

/** Shade everything after a time. */
export function drawShade(chart: Chart, after: number, c: Palette) {
  const { top, left, right, bottom } = chart.chartArea;
  const from = Math.max(left, pixelOf(chart, after));
  chart.ctx.fillStyle = c.future;
  chart.ctx.fillRect(from, top - 8, Math.max(0, right - from), bottom - top + 8);
}

export function drawVertical({ ctx, chartArea }: Chart, x: number, colour: string, dash: number[]) {
  ctx.strokeStyle = colour;
  ctx.lineWidth = 1;
  ctx.setLineDash(dash);
  ctx.beginPath();
  ctx.moveTo(x, chartArea.top - 8);
  ctx.lineTo(x, chartArea.bottom);
  ctx.stroke();
  ctx.setLineDash([]);
}

/** Draw the line of as-of, unless it lies outside the chart. */
export function drawAsOf(chart: Chart, time: number, c: Palette) {
  const { ctx, chartArea } = chart;
  const x = pixelOf(chart, time);
  if (x < chartArea.left - 1 || x > chartArea.right + 1) return;
  drawVertical(chart, x, c.ink, [2, 3]);
  const left = x + 50 > chartArea.right;
  ctx.font = `500 11.5px ${c.font}`;
  ctx.fillStyle = c.ink;
  ctx.textAlign = left ? "right" : "left";
  ctx.fillText("as of", left ? x - 6 : x + 6, chartArea.top + 3);
}

/** Draw a line at the cursor with its time below. */
export function drawCursor(chart: Chart, time: number, text: string, c: Palette) {
  const { ctx, chartArea } = chart;
  const x = pixelOf(chart, time);
  drawVertical(chart, x, c.text, []);
  ctx.font = `550 11.5px ${c.font}`;
  const width = ctx.measureText(text).width + 16;
  const left = Math.min(Math.max(x - width / 2, chartArea.left), chartArea.right - width);
  ctx.fillStyle = c.ink;
  ctx.beginPath();
  ctx.roundRect(left, chartArea.bottom + 4, width, 21, 5);
  ctx.fill();
  ctx.fillStyle = c.surface;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.fillText(text, left + 8, chartArea.bottom + 15);
  ctx.textBaseline = "alphabetic";
}

export function drawDot(chart: Chart, time: number, value: number, colour: string, ring: string, size = 4.5) {
  const { ctx, scales } = chart;
  ctx.beginPath();
  ctx.arc(pixelOf(chart, time), scales.y?.getPixelForValue(value) ?? 0, size, 0, 2 * Math.PI);
  ctx.fillStyle = colour;
  ctx.strokeStyle = ring;
  ctx.lineWidth = 2;
  ctx.fill();
  ctx.stroke();
}

/** Return the time that is nearest to another; null without any. */
export function nearest(times: readonly number[], target: number): number | null {
  let best: number | null = null;
  for (const time of times) {
    if (best === null || Math.abs(time - target) < Math.abs(best - target)) best = time;
  }
  return best;
}
