import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { storedSeries } from "../../api/queries";
import type { SeriesSummary } from "../../api/types";
import { type Frequency, shift } from "../../lib/frequency";
import { toIso } from "../../lib/time";

export const SPARK_STEPS = 96;
const [WIDTH, HEIGHT] = [132, 24];

/** Line of the end of a series, read when its row comes into sight. */
export function Sparkline({
  dataset,
  series,
  freq,
}: {
  dataset: string;
  series: SeriesSummary;
  freq: Frequency;
}) {
  const box = useRef<SVGSVGElement>(null);
  const seen = useSeen(box);
  const start = toIso(shift(Date.parse(series.last_ds), freq, -SPARK_STEPS));
  const query = useQuery({
    ...storedSeries(dataset, series.unique_id, { start, end: series.last_ds }),
    enabled: seen,
    retry: false,
  });
  const path = query.data ? sparkPath(query.data.y) : "";
  return (
    <svg ref={box} className="spark" viewBox={`0 -2 ${WIDTH} ${HEIGHT + 4}`} aria-hidden="true">
      {path && <path d={path} />}
    </svg>
  );
}

/** Draw values as an SVG path over the box; a missing value breaks the line. */
export function sparkPath(values: readonly (number | null)[]): string {
  const known = values.filter((y): y is number => y !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const span = high - low || 1;
  let pen = "M";
  return values
    .flatMap((y, i) => {
      if (y === null) {
        pen = "M";
        return [];
      }
      const x = (WIDTH * i) / Math.max(1, values.length - 1);
      const command = `${pen}${x.toFixed(1)} ${(HEIGHT - (HEIGHT * (y - low)) / span).toFixed(1)}`;
      pen = "L";
      return [command];
    })
    .join("");
}

function useSeen(box: { current: Element | null }): boolean {
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    if (!box.current) return;
    const watcher = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) setSeen(true);
    });
    watcher.observe(box.current);
    return () => watcher.disconnect();
  }, [box]);
  return seen;
}
