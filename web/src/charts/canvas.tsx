import {
  BarController,
  BarElement,
  CategoryScale,
  Chart,
  type ChartConfiguration,
  Filler,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
} from "chart.js";
import { type RefObject, useEffect, useRef } from "react";

Chart.register(
  BarController,
  BarElement,
  CategoryScale,
  Filler,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
);

export type { Chart, ChartConfiguration };

/** Drawings around the data: shading below it; reference lines, labels, a cursor above it. */
export interface Overlay {
  below?: (chart: Chart) => void;
  above?: (chart: Chart) => void;
}

interface CanvasProps {
  config: ChartConfiguration;
  /** Description of the chart, for those who do not see it. */
  label: string;
  overlay?: Overlay;
  chart?: RefObject<Chart | null>;
}

/** Chart.js chart: created once, then given new data and options. */
export function ChartCanvas({ config, label, overlay, chart }: CanvasProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const instance = useRef<Chart | null>(null);
  const latest = useRef({ config, overlay });
  latest.current = { config, overlay };

  useEffect(() => {
    if (!canvas.current) return;
    const created = new Chart(canvas.current, {
      ...latest.current.config,
      plugins: [
        {
          id: "overlay",
          beforeDatasetsDraw: (drawn) => latest.current.overlay?.below?.(drawn),
          afterDatasetsDraw: (drawn) => latest.current.overlay?.above?.(drawn),
        },
      ],
    });
    instance.current = created;
    if (chart) chart.current = created;
    return () => {
      created.destroy();
      instance.current = null;
      if (chart) chart.current = null;
    };
  }, [chart]);

  useEffect(() => {
    const current = instance.current;
    if (!current) return;
    current.data = config.data;
    current.options = config.options ?? {};
    current.update("none");
  }, [config]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new overlay is what needs drawing
  useEffect(() => instance.current?.draw(), [overlay]);

  return <canvas ref={canvas} role="img" aria-label={label} />;
}
