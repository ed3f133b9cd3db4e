import { useMemo } from "react";
import type { Point } from "../lib/accuracy";
import type { ForecastStep, ForecastView } from "../lib/forecast-view";
import { formatStep } from "../lib/time";
import { drawAsOf, drawCursor, drawDot, drawShade, STILL, THIN_LINE, timeScale, valueScale } from "./axes";
import type { Chart, ChartConfiguration, Overlay } from "./canvas";
import { type Palette, usePalette } from "./palette";
import { TimePlot } from "./time-plot";

export interface FanChartProps {
  view: ForecastView;
  asOf: number;
  label: string;
  showNaive: boolean;
  cursor: number | null;
  onCursor: (time: number | null) => void;
}

/** History, the fan of quantiles that opens from it, and the actuals that followed. */
export default function FanChart(props: FanChartProps) {
  const { view, asOf, label, showNaive, cursor, onCursor } = props;
  const colours = usePalette();
  const times = useMemo(() => [...new Set(timesOf(view))].sort((a, b) => a - b), [view]);
  const config = useMemo(() => fanConfig(view, showNaive, colours), [view, showNaive, colours]);
  const overlay = useMemo(() => fanOverlay(asOf, cursor, view, colours), [asOf, cursor, view, colours]);
  return <TimePlot config={config} overlay={overlay} label={label} times={times} onCursor={onCursor} />;
}

interface XY {
  x: number;
  y: number;
}

const GAP = Number.NaN;
const xy = ([x, y]: Point): XY => ({ x, y: y ?? GAP });

function timesOf({ history, actuals, steps }: ForecastView): number[] {
  return [...history, ...actuals].map(([time]) => time).concat(steps.map((step) => step.time));
}

function valuesOf({ history, actuals, steps }: ForecastView): (number | null)[] {
  return [...history, ...actuals].map(([, y]) => y).concat(steps.map((step) => step.low95));
}

function fanConfig(view: ForecastView, showNaive: boolean, c: Palette): ChartConfiguration {
  const times = timesOf(view);
  return {
    type: "line",
    data: { datasets: fanLines(view, showNaive, c) },
    options: {
      ...STILL,
      layout: { padding: { top: 20, right: 4 } },
      scales: { x: timeScale(Math.min(...times), Math.max(...times), c), y: valueScale(valuesOf(view), c) },
    },
  };
}

/** Lines and bands; the first is painted last, on top. */
function fanLines({ history, steps, actuals }: ForecastView, showNaive: boolean, c: Palette) {
  const last = history.at(-1);
  const stepLine = (pick: (step: ForecastStep) => number | null): XY[] =>
    steps.map((step) => ({ x: step.time, y: pick(step) ?? GAP }));
  // The median and the bands open from the last value of the history.
  const opening = (pick: (step: ForecastStep) => number | null): XY[] =>
    last && steps.length ? [xy(last), ...stepLine(pick)] : stepLine(pick);
  const edge = { ...THIN_LINE, borderWidth: 0 };
  return [
    {
      ...THIN_LINE,
      data: (last ? [last, ...actuals] : actuals).map(xy),
      borderColor: c.actual,
      borderWidth: 2.2,
      borderDash: [1.5, 4],
      borderCapStyle: "round" as const,
    },
    { ...THIN_LINE, data: opening((step) => step.median), borderColor: c.forecast, borderWidth: 2.4 },
    { ...THIN_LINE, data: history.map(xy), borderColor: c.history, borderWidth: 1.6 },
    {
      ...THIN_LINE,
      data: showNaive ? stepLine((step) => step.naive) : [],
      borderColor: c.naive,
      borderWidth: 1.6,
      borderDash: [5, 4],
    },
    { ...edge, data: opening((step) => step.high80), backgroundColor: c.band80, fill: "+1" },
    { ...edge, data: opening((step) => step.low80) },
    { ...edge, data: opening((step) => step.high95), backgroundColor: c.band95, fill: "+1" },
    { ...edge, data: opening((step) => step.low95) },
  ];
}

/** Shade after as-of and its line; the cursor, its time, and a dot on every line it crosses. */
function fanOverlay(asOf: number, cursor: number | null, view: ForecastView, c: Palette): Overlay {
  return {
    below: (chart) => drawShade(chart, asOf, c),
    above: (chart) => {
      chart.ctx.save();
      drawAsOf(chart, asOf, c);
      if (cursor !== null) drawValuesAt(chart, cursor, view, c);
      chart.ctx.restore();
    },
  };
}

function drawValuesAt(chart: Chart, time: number, view: ForecastView, c: Palette) {
  drawCursor(chart, time, formatStep(time, view.stepMs), c);
  for (const [value, colour] of valuesAt(view, time, c)) drawDot(chart, time, value, colour, c.surface);
}

function valuesAt(view: ForecastView, time: number, c: Palette): [number, string][] {
  const valueAt = (points: Point[]) => points.find(([t]) => t === time)?.[1];
  const pairs: [number | null | undefined, string][] = [
    [valueAt(view.history), c.history],
    [valueAt(view.actuals), c.actual],
    [view.steps.find((step) => step.time === time)?.median, c.forecast],
  ];
  return pairs.filter((pair): pair is [number, string] => typeof pair[0] === "number");
}
