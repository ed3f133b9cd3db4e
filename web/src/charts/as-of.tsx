import { useMemo } from "react";
import type { DiffRow } from "../lib/series-diff";
import { formatStep } from "../lib/time";
import {
  drawAsOf,
  drawCursor,
  drawDot,
  drawShade,
  drawVertical,
  pixelOf,
  STILL,
  THIN_LINE,
  timeScale,
  valueScale,
} from "./axes";
import type { Chart, ChartConfiguration, Overlay } from "./canvas";
import { type Palette, usePalette } from "./palette";
import { TimePlot } from "./time-plot";

export interface AsOfChartProps {
  rows: DiffRow[];
  asOf: number;
  stepMs: number;
  /** Times at the two ends of the chart. */
  domain: readonly [number, number];
  /** Also draw what became known later. */
  showLater: boolean;
  label: string;
  cursor: number | null;
  onCursor: (time: number | null) => void;
}

/** A series as it was known then, with the values that it has now where they differ. */
export default function AsOfChart(props: AsOfChartProps) {
  const { rows, asOf, stepMs, domain, showLater, label, cursor, onCursor } = props;
  const colours = usePalette();
  const visible = useMemo(
    () => rows.filter((row) => showLater || row.fate !== "appeared"),
    [rows, showLater],
  );
  const times = useMemo(() => visible.map((row) => row.time), [visible]);
  const [from, to] = domain;
  const config = useMemo(
    () => asOfConfig(rows, showLater, [from, to], colours),
    [rows, showLater, from, to, colours],
  );
  const overlay = useMemo(
    () => asOfOverlay({ rows: visible, asOf, stepMs, cursor }, colours),
    [visible, asOf, stepMs, cursor, colours],
  );
  return <TimePlot config={config} overlay={overlay} label={label} times={times} onCursor={onCursor} />;
}

const GAP = Number.NaN;
/** Number of rows beyond which a line of the usual width would be a solid block. */
const DENSE_ROWS = 1500;

function asOfConfig(
  rows: DiffRow[],
  showLater: boolean,
  domain: [number, number],
  c: Palette,
): ChartConfiguration {
  const appeared = (row: DiffRow | undefined) => row?.fate === "appeared";
  const known = rows.filter((row) => !appeared(row)).map((row) => ({ x: row.time, y: row.was ?? GAP }));
  const changed = rows.map((row) => ({ x: row.time, y: (row.fate === "changed" ? row.is : null) ?? GAP }));
  // Joined to the value before it, so that the line goes on.
  const later = rows.map((row, i) => ({
    x: row.time,
    y: (appeared(row) || appeared(rows[i + 1]) ? (row.is ?? row.was) : null) ?? GAP,
  }));
  const dense = rows.length > DENSE_ROWS;
  return {
    type: "line",
    data: {
      // The first is painted last, on top.
      datasets: [
        { ...THIN_LINE, data: changed, borderColor: c.actual, borderWidth: 1.8 },
        { ...THIN_LINE, data: known, borderColor: c.history, borderWidth: dense ? 0.6 : 1.6 },
        {
          ...THIN_LINE,
          data: showLater ? later : [],
          borderColor: c.actual,
          borderWidth: 1.8,
          borderDash: [1.5, 3.5],
          borderCapStyle: "round",
        },
      ],
    },
    options: {
      ...STILL,
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

interface Drawn {
  rows: DiffRow[];
  asOf: number;
  stepMs: number;
  cursor: number | null;
}

function asOfOverlay({ rows, asOf, stepMs, cursor }: Drawn, c: Palette): Overlay {
  const differing = rows.filter((row) => row.fate === "changed" || row.fate === "vanished");
  return {
    below: (chart) => drawShade(chart, asOf, c),
    above: (chart) => {
      chart.ctx.save();
      for (const row of differing) drawDifference(chart, row, stepMs, c);
      drawAsOf(chart, asOf, c);
      if (cursor !== null) drawRowAt(chart, cursor, { rows, stepMs }, c);
      chart.ctx.restore();
    },
  };
}

/** Draw a line from the value then to the value now, and a dot on the latter; a cross for what is gone. */
function drawDifference(chart: Chart, row: DiffRow, stepMs: number, c: Palette) {
  const { ctx, scales } = chart;
  const x = pixelOf(chart, row.time);
  const y = (value: number) => scales.y?.getPixelForValue(value) ?? 0;
  if (row.fate === "vanished") {
    if (typeof row.was === "number") drawCross(ctx, x, y(row.was), c.bad);
    return;
  }
  if (typeof row.is !== "number") return;
  if (typeof row.was === "number") {
    ctx.strokeStyle = c.actual;
    ctx.globalAlpha = 0.5;
    ctx.lineWidth = 1;
    ctx.beginPath();
    ctx.moveTo(x, y(row.was));
    ctx.lineTo(x, y(row.is));
    ctx.stroke();
    ctx.globalAlpha = 1;
  }
  const room = pixelOf(chart, row.time + stepMs) - x;
  if (room >= 5) {
    drawDot(chart, row.time, row.is, c.actual, c.surface, 3.6);
    return;
  }
  ctx.fillStyle = c.actual;
  ctx.beginPath();
  ctx.arc(x, y(row.is), 2, 0, 2 * Math.PI);
  ctx.fill();
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

/** Draw the cursor with a dot on each value of the row below it. */
function drawRowAt(chart: Chart, time: number, { rows, stepMs }: Pick<Drawn, "rows" | "stepMs">, c: Palette) {
  const row = rows.find((candidate) => candidate.time === time);
  if (!row) return drawVertical(chart, pixelOf(chart, time), c.text, []);
  drawCursor(chart, time, formatStep(time, stepMs), c);
  if (typeof row.was === "number") drawDot(chart, time, row.was, c.history, c.surface);
  if (typeof row.is === "number" && row.fate !== "same") drawDot(chart, time, row.is, c.actual, c.surface);
}
