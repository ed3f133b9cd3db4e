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

/** What is drawn around the data: shading below it; reference lines, labels, a cursor above it. */
export interface Overlay {
  below?: (chart: Chart) => void;
  above?: (chart: Chart) => void;
}

interface CanvasProps {
  config: ChartConfiguration;
  /** What the chart shows, in words. */
  label: string;
  overlay?: Overlay;
  chart?: RefObject<Chart | null>;
}

/** A Chart.js chart: made once, then given new data and options. */
export function ChartCanvas({ config, label, overlay, chart }: CanvasProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const own = useRef<Chart | null>(null);
  const latest = useRef({ config, overlay });
  latest.current = { config, overlay };

  useEffect(() => {
    if (!canvas.current) return;
    const made = new Chart(canvas.current, {
      ...latest.current.config,
      plugins: [
        {
          id: "overlay",
          beforeDatasetsDraw: (drawn) => latest.current.overlay?.below?.(drawn),
          afterDatasetsDraw: (drawn) => latest.current.overlay?.above?.(drawn),
        },
      ],
    });
    own.current = made;
    if (chart) chart.current = made;
    return () => {
      made.destroy();
      own.current = null;
      if (chart) chart.current = null;
    };
  }, [chart]);

  useEffect(() => {
    const made = own.current;
    if (!made) return;
    made.data = config.data;
    made.options = config.options ?? {};
    made.update("none");
  }, [config]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new overlay is what needs drawing
  useEffect(() => own.current?.draw(), [overlay]);

  return <canvas ref={canvas} role="img" aria-label={label} />;
}
