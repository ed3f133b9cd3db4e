import type { Tick } from "chart.js";
import { type PointerEvent, useMemo, useRef } from "react";
import { useTheme } from "../components/theme";
import type { Point } from "../lib/accuracy";
import { formatStep, timeTicks } from "../lib/time";
import type { Step, View } from "../pages/explorer/view";
import { type Chart, ChartCanvas, type ChartConfiguration, type Overlay } from "./canvas";
import { type Palette, palette } from "./palette";

export interface FanChartProps {
  view: View;
  asOf: number;
  label: string;
  showNaive: boolean;
  cursor: number | null;
  onCursor: (time: number | null) => void;
}

type XY = { x: number; y: number };
const NONE = Number.NaN;
const xy = ([x, y]: Point): XY => ({ x, y: y ?? NONE });

/** History, the fan of quantiles that opens from it, and what came true. */
export default function FanChart(props: FanChartProps) {
  const { view, asOf, label, showNaive, cursor, onCursor } = props;
  const theme = useTheme();
  const chart = useRef<Chart | null>(null);
  const times = useMemo(
    () =>
      [
        ...new Set([...view.history, ...view.followed].map(([t]) => t).concat(view.steps.map((s) => s.time))),
      ].sort((a, b) => a - b),
    [view],
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: the theme decides what palette() reads
  const colours = useMemo(() => palette(), [theme]);
  const config = useMemo(() => fanConfig(view, showNaive, colours), [view, showNaive, colours]);
  const overlay = useMemo(() => marks(asOf, cursor, view, colours), [asOf, cursor, view, colours]);

  const move = (event: PointerEvent<HTMLDivElement>) => {
    const scale = chart.current?.scales.x;
    if (!scale) return;
    const box = event.currentTarget.getBoundingClientRect();
    const at = scale.getValueForPixel(event.clientX - box.left);
    if (at !== undefined) onCursor(nearest(times, at));
  };

  return (
    <div className="plot" onPointerMove={move} onPointerLeave={() => onCursor(null)}>
      <ChartCanvas config={config} label={label} overlay={overlay} chart={chart} />
    </div>
  );
}

function nearest(times: number[], at: number): number | null {
  let best: number | null = null;
  for (const time of times) {
    if (best === null || Math.abs(time - at) < Math.abs(best - at)) best = time;
  }
  return best;
}

function fanConfig(view: View, naive: boolean, c: Palette): ChartConfiguration {
  const { history, steps, followed } = view;
  const root = history.at(-1);
  const along = (pick: (step: Step) => number | null, rooted = true): XY[] => [
    ...(rooted && root && steps.length ? [xy(root)] : []),
    ...steps.map((step) => ({ x: step.time, y: pick(step) ?? NONE })),
  ];
  const line = { pointRadius: 0, pointHitRadius: 0, borderJoinStyle: "round" as const, tension: 0 };
  const edge = { ...line, borderWidth: 0 };
  const all = [...history, ...followed].map(([time]) => time).concat(steps.map((step) => step.time));
  return {
    type: "line",
    data: {
      // The first is painted last, on top.
      datasets: [
        {
          ...line,
          data: (root ? [root, ...followed] : followed).map(xy),
          borderColor: c.actual,
          borderWidth: 2.2,
          borderDash: [1.5, 4],
          borderCapStyle: "round",
        },
        { ...line, data: along((s) => s.median), borderColor: c.forecast, borderWidth: 2.4 },
        { ...line, data: history.map(xy), borderColor: c.history, borderWidth: 1.6 },
        {
          ...line,
          data: naive ? along((s) => s.naive, false) : [],
          borderColor: c.naive,
          borderWidth: 1.6,
          borderDash: [5, 4],
        },
        { ...edge, data: along((s) => s.high80), backgroundColor: c.band80, fill: "+1" },
        { ...edge, data: along((s) => s.low80) },
        { ...edge, data: along((s) => s.high95), backgroundColor: c.band95, fill: "+1" },
        { ...edge, data: along((s) => s.low95) },
      ],
    },
    options: {
      responsive: true,
      maintainAspectRatio: false,
      animation: false,
      parsing: false,
      normalized: true,
      events: [],
      layout: { padding: { top: 20, right: 4 } },
      scales: { x: timeScale(Math.min(...all), Math.max(...all), c), y: valueScale(view, c) },
    },
  };
}

function timeScale(min: number, max: number, c: Palette) {
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

function valueScale(view: View, c: Palette) {
  const values = [...view.history, ...view.followed].map(([, y]) => y).concat(view.steps.map((s) => s.low95));
  const known = values.filter((y): y is number => y !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  return {
    type: "linear" as const,
    beginAtZero: low >= 0 && low < 0.4 * high,
    grace: "6%",
    border: { display: false },
    grid: { color: c.grid, tickLength: 0 },
    ticks: { color: c.text, padding: 10, maxTicksLimit: 7, font: { family: c.font, size: 11.5 } },
  };
}

/** The line of as-of and the shade after it; the cursor, its time, and a dot on every line it crosses. */
function marks(asOf: number, cursor: number | null, view: View, c: Palette): Overlay {
  return {
    below: (chart) => {
      const from = pixelOf(chart, asOf);
      const { top, right, bottom } = chart.chartArea;
      chart.ctx.fillStyle = c.future;
      chart.ctx.fillRect(from, top - 8, Math.max(0, right - from), bottom - top + 8);
    },
    above: (chart) => {
      chart.ctx.save();
      drawAsOf(chart, pixelOf(chart, asOf), c);
      if (cursor !== null) drawCursor(chart, cursor, view, c);
      chart.ctx.restore();
    },
  };
}

const pixelOf = (chart: Chart, time: number) => chart.scales.x?.getPixelForValue(time) ?? 0;

function drawVertical({ ctx, chartArea }: Chart, x: number, colour: string, dash: number[]) {
  ctx.strokeStyle = colour;
  ctx.lineWidth = 1;
  ctx.setLineDash(dash);
  ctx.beginPath();
  ctx.moveTo(x, chartArea.top - 8);
  ctx.lineTo(x, chartArea.bottom);
  ctx.stroke();
  ctx.setLineDash([]);
}

function drawAsOf(chart: Chart, x: number, c: Palette) {
  const { ctx, chartArea } = chart;
  drawVertical(chart, x, c.ink, [2, 3]);
  const left = x + 50 > chartArea.right;
  ctx.font = `500 11.5px ${c.font}`;
  ctx.fillStyle = c.ink;
  ctx.textAlign = left ? "right" : "left";
  ctx.fillText("as of", left ? x - 6 : x + 6, chartArea.top + 3);
}

function drawCursor(chart: Chart, cursor: number, view: View, c: Palette) {
  const { ctx, chartArea, scales } = chart;
  const x = pixelOf(chart, cursor);
  drawVertical(chart, x, c.text, []);
  for (const [value, colour] of valuesAt(view, cursor, c)) {
    drawDot(ctx, x, scales.y?.getPixelForValue(value) ?? 0, colour, c.surface);
  }
  const text = formatStep(cursor, view.stepMs);
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
}

function valuesAt(view: View, time: number, c: Palette): [number, string][] {
  const step = view.steps.find((s) => s.time === time);
  const at = (points: Point[]) => points.find(([t]) => t === time)?.[1];
  const pairs: [number | null | undefined, string][] = [
    [at(view.history), c.history],
    [at(view.followed), c.actual],
    [step?.median, c.forecast],
  ];
  return pairs.filter((pair): pair is [number, string] => typeof pair[0] === "number");
}

function drawDot(ctx: CanvasRenderingContext2D, x: number, y: number, colour: string, ring: string) {
  ctx.beginPath();
  ctx.arc(x, y, 4.5, 0, 2 * Math.PI);
  ctx.fillStyle = colour;
  ctx.strokeStyle = ring;
  ctx.lineWidth = 2;
  ctx.fill();
  ctx.stroke();
}
