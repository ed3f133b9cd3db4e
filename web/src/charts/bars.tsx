import { useMemo } from "react";
import { type Chart, ChartCanvas, type ChartConfiguration, type Overlay } from "./canvas";
import { type Palette, usePalette } from "./palette";

export interface Bar {
  name: string;
  value: number;
  chosen: boolean;
}

interface BarChartProps {
  bars: Bar[];
  /** Value to be measured against, drawn as a line. */
  reference: number | null;
  referenceName: string;
  label: string;
}

/** Horizontal bars, best first, with one reference line. */
export default function BarChart({ bars, reference, referenceName, label }: BarChartProps) {
  const colours = usePalette();
  const config = useMemo(() => barConfig(bars, reference, colours), [bars, reference, colours]);
  const overlay = useMemo<Overlay>(
    () => ({
      above: (chart) => {
        drawReference(chart, reference, referenceName, colours);
        drawValues(chart, bars, colours);
      },
    }),
    [bars, reference, referenceName, colours],
  );
  return (
    <div className="bars" style={{ height: bars.length * 38 + 62 }}>
      <ChartCanvas config={config} overlay={overlay} label={label} />
    </div>
  );
}

function barConfig(bars: Bar[], reference: number | null, c: Palette): ChartConfiguration {
  const font = { family: c.font, size: 12.5 };
  return {
    type: "bar",
    data: {
      labels: bars.map((bar) => bar.name),
      datasets: [
        {
          data: bars.map((bar) => bar.value),
          backgroundColor: bars.map((bar) => (bar.chosen ? c.forecast : c.naive)),
          borderRadius: 4,
          barThickness: 18,
        },
      ],
    },
    options: {
      indexAxis: "y",
      responsive: true,
      maintainAspectRatio: false,
      animation: false,
      events: [],
      layout: { padding: { top: 22, right: 52 } },
      scales: {
        x: {
          beginAtZero: true,
          suggestedMax: (reference ?? 0) * 1.08,
          border: { display: false },
          grid: { color: c.grid },
          ticks: { color: c.text, font, maxTicksLimit: 7 },
        },
        y: { border: { color: c.line }, grid: { display: false }, ticks: { color: c.ink, font } },
      },
    },
  };
}

function drawReference(chart: Chart, reference: number | null, name: string, c: Palette): void {
  if (reference === null) return;
  const { ctx, chartArea: area, scales } = chart;
  const x = scales.x?.getPixelForValue(reference) ?? 0;
  ctx.save();
  ctx.strokeStyle = c.actual;
  ctx.fillStyle = c.actual;
  ctx.lineWidth = 1.5;
  ctx.setLineDash([4, 3]);
  ctx.beginPath();
  ctx.moveTo(x, area.top - 6);
  ctx.lineTo(x, area.bottom);
  ctx.stroke();
  ctx.font = `500 11.5px ${c.font}`;
  ctx.textAlign = x > (area.left + area.right) / 2 ? "right" : "left";
  ctx.fillText(name, x, area.top - 11);
  ctx.restore();
}

function drawValues(chart: Chart, bars: Bar[], c: Palette): void {
  const { ctx } = chart;
  ctx.save();
  ctx.font = `500 12px ${c.font}`;
  ctx.fillStyle = c.ink;
  ctx.textBaseline = "middle";
  chart.getDatasetMeta(0).data.forEach((element, i) => {
    const text = bars[i]?.value.toFixed(3) ?? "";
    ctx.fillStyle = c.surface;
    ctx.fillRect(element.x + 3, element.y - 9, ctx.measureText(text).width + 8, 18);
    ctx.fillStyle = c.ink;
    ctx.fillText(text, element.x + 7, element.y);
  });
  ctx.restore();
}
