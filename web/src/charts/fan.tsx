import { type PointerEvent, useMemo, useRef } from "react";
import { useTheme } from "../components/theme";
import type { Point } from "../lib/accuracy";
import type { Step, View } from "../lib/forecast-view";
import { formatStep } from "../lib/time";
import { drawAsOf, drawCursor, drawDot, drawShade, nearest, timeScale, valueScale } from "./axes";
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
      scales: { x: timeScale(Math.min(...all), Math.max(...all), c), y: valueScale(valuesOf(view), c) },
    },
  };
}

const valuesOf = ({ history, followed, steps }: View) =>
  [...history, ...followed].map(([, y]) => y).concat(steps.map((s) => s.low95));

/** The line of as-of and the shade after it; the cursor, its time, and a dot on every line it crosses. */
function marks(asOf: number, cursor: number | null, view: View, c: Palette): Overlay {
  return {
    below: (chart) => drawShade(chart, asOf, c),
    above: (chart) => {
      chart.ctx.save();
      drawAsOf(chart, asOf, c);
      if (cursor !== null) drawAt(chart, cursor, view, c);
      chart.ctx.restore();
    },
  };
}

function drawAt(chart: Chart, cursor: number, view: View, c: Palette) {
  drawCursor(chart, cursor, formatStep(cursor, view.stepMs), c);
  for (const [value, colour] of valuesAt(view, cursor, c)) drawDot(chart, cursor, value, colour, c.surface);
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
