import { type PointerEvent, useMemo, useRef } from "react";
import { useTheme } from "../components/theme";
import type { Row } from "../lib/series-diff";
import { formatStep } from "../lib/time";
import {
  drawAsOf,
  drawCursor,
  drawDot,
  drawShade,
  drawVertical,
  nearest,
  pixelOf,
  timeScale,
  valueScale,
} from "./axes";
import { type Chart, ChartCanvas, type ChartConfiguration, type Overlay } from "./canvas";
import { type Palette, palette } from "./palette";

export interface KnownChartProps {
  rows: Row[];
  asOf: number;
  stepMs: number;
  /** The times at the two ends of the chart. */
  domain: readonly [number, number];
  /** Whether what became known later is drawn too. */
  showLater: boolean;
  label: string;
  cursor: number | null;
  onCursor: (time: number | null) => void;
}

/** A series as it was known then, with the values that it has now where they differ. */
export default function KnownChart(props: KnownChartProps) {
  const { rows, asOf, stepMs, domain, showLater, label, cursor, onCursor } = props;
  const theme = useTheme();
  const chart = useRef<Chart | null>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the theme decides what palette() reads
  const colours = useMemo(() => palette(), [theme]);
  const shown = useMemo(() => rows.filter((row) => showLater || row.fate !== "appeared"), [rows, showLater]);
  const times = useMemo(() => shown.map((row) => row.time), [shown]);
  const [from, to] = domain;
  const config = useMemo(
    () => configOf(rows, showLater, [from, to], colours),
    [rows, showLater, from, to, colours],
  );
  const overlay = useMemo(
    () => marks(shown, asOf, stepMs, cursor, colours),
    [shown, asOf, stepMs, cursor, colours],
  );
  const move = (event: PointerEvent<HTMLDivElement>) => {
    const scale = chart.current?.scales.x;
    if (!scale) return;
    const at = scale.getValueForPixel(event.clientX - event.currentTarget.getBoundingClientRect().left);
    if (at !== undefined) onCursor(nearest(times, at));
  };
  return (
    <div className="plot" onPointerMove={move} onPointerLeave={() => onCursor(null)}>
      <ChartCanvas config={config} label={label} overlay={overlay} chart={chart} />
    </div>
  );
}

const GAP = Number.NaN;
/** Beyond this many rows a line of the usual width would be a solid block. */
const DENSE = 1500;

function configOf(rows: Row[], later: boolean, domain: [number, number], c: Palette): ChartConfiguration {
  const line = { pointRadius: 0, pointHitRadius: 0, borderJoinStyle: "round" as const, tension: 0 };
  const along = (pick: (row: Row, i: number) => number | null | undefined) =>
    rows.map((row, i) => ({ x: row.time, y: pick(row, i) ?? GAP }));
  const appeared = (row: Row | undefined) => row?.fate === "appeared";
  const known = rows.filter((row) => row.fate !== "appeared");
  const fine = rows.length > DENSE;
  return {
    type: "line",
    data: {
      // The first is painted last, on top.
      datasets: [
        {
          ...line,
          data: along((row) => (row.fate === "changed" ? row.is : null)),
          borderColor: c.actual,
          borderWidth: 1.8,
        },
        {
          ...line,
          data: known.map((row) => ({ x: row.time, y: row.was ?? GAP })),
          borderColor: c.history,
          borderWidth: fine ? 0.6 : 1.6,
        },
        {
          ...line,
          // Joined to the value before it, so that the line goes on.
          data: later
            ? along((row, i) => (appeared(row) || appeared(rows[i + 1]) ? (row.is ?? row.was) : null))
            : [],
          borderColor: c.actual,
          borderWidth: 1.8,
          borderDash: [1.5, 3.5],
          borderCapStyle: "round",
        },
      ],
    },
    options: {
      responsive: true,
      maintainAspectRatio: false,
      animation: false,
      parsing: false,
      normalized: true,
      events: [],
      layout: { padding: { top: 20, right: 6 } },
      scales: {
        x: timeScale(domain[0], domain[1], c),
        // Of all values, so that the scale stands still while the slider moves.
        y: valueScale(
          rows.flatMap((row) => [row.was ?? null, row.is ?? null]),
          c,
        ),
      },
    },
  };
}

function marks(rows: Row[], asOf: number, stepMs: number, cursor: number | null, c: Palette): Overlay {
  const differing = rows.filter((row) => row.fate === "changed" || row.fate === "vanished");
  return {
    below: (chart) => drawShade(chart, asOf, c),
    above: (chart) => {
      chart.ctx.save();
      for (const row of differing) drawDifference(chart, row, stepMs, c);
      drawAsOf(chart, asOf, c);
      if (cursor !== null) drawAt(chart, rows, cursor, stepMs, c);
      chart.ctx.restore();
    },
  };
}

/** From what was known to what is known, where there is room; a cross for what is gone. */
function drawDifference(chart: Chart, row: Row, stepMs: number, c: Palette) {
  const { ctx, scales } = chart;
  const room = pixelOf(chart, row.time + stepMs) - pixelOf(chart, row.time);
  const x = pixelOf(chart, row.time);
  const y = (value: number) => scales.y?.getPixelForValue(value) ?? 0;
  if (row.fate === "vanished") {
    if (typeof row.was === "number") drawCross(ctx, x, y(row.was), c.bad);
    return;
  }
  if (typeof row.was === "number" && typeof row.is === "number") {
    ctx.strokeStyle = c.actual;
    ctx.globalAlpha = 0.5;
    ctx.lineWidth = 1;
    ctx.beginPath();
    ctx.moveTo(x, y(row.was));
    ctx.lineTo(x, y(row.is));
    ctx.stroke();
    ctx.globalAlpha = 1;
  }
  if (typeof row.is === "number") {
    if (room >= 5) drawDot(chart, row.time, row.is, c.actual, c.surface, 3.6);
    else {
      ctx.fillStyle = c.actual;
      ctx.beginPath();
      ctx.arc(x, y(row.is), 2, 0, 2 * Math.PI);
      ctx.fill();
    }
  }
}

function drawCross(ctx: CanvasRenderingContext2D, x: number, y: number, colour: string) {
  ctx.strokeStyle = colour;
  ctx.lineWidth = 2;
  ctx.beginPath();
  ctx.moveTo(x - 4, y - 4);
  ctx.lineTo(x + 4, y + 4);
  ctx.moveTo(x + 4, y - 4);
  ctx.lineTo(x - 4, y + 4);
  ctx.stroke();
}

function drawAt(chart: Chart, rows: Row[], cursor: number, stepMs: number, c: Palette) {
  const row = rows.find(({ time }) => time === cursor);
  if (!row) return drawVertical(chart, pixelOf(chart, cursor), c.text, []);
  drawCursor(chart, cursor, formatStep(cursor, stepMs), c);
  if (typeof row.was === "number") drawDot(chart, cursor, row.was, c.history, c.surface);
  if (typeof row.is === "number" && row.fate !== "same") drawDot(chart, cursor, row.is, c.actual, c.surface);
}
