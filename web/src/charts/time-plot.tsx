import { type PointerEvent, useRef } from "react";
import { nearest } from "./axes";
import { type Chart, ChartCanvas, type ChartConfiguration, type Overlay } from "./canvas";

interface TimePlotProps {
  config: ChartConfiguration;
  overlay: Overlay;
  label: string;
  /** Times that the cursor can stand at. */
  times: readonly number[];
  onCursor: (time: number | null) => void;
}

/** Chart over time that reports the time nearest to the pointer. */
export function TimePlot({ config, overlay, label, times, onCursor }: TimePlotProps) {
  const chart = useRef<Chart | null>(null);
  const move = (event: PointerEvent<HTMLDivElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    const time = chart.current?.scales.x?.getValueForPixel(event.clientX - box.left);
    if (time !== undefined) onCursor(nearest(times, time));
  };
  return (
    <div className="plot" onPointerMove={move} onPointerLeave={() => onCursor(null)}>
      <ChartCanvas config={config} label={label} overlay={overlay} chart={chart} />
    </div>
  );
}
