const groups = new Intl.NumberFormat("en-US");

export const formatCount = (value: number) => groups.format(value);

/** A value of a series: as many digits as its size deserves. */
export function formatValue(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 10_000) return groups.format(Math.round(value));
  if (size >= 1000) return value.toFixed(0);
  return value.toFixed(size >= 100 ? 1 : 2);
}

export const formatPercent = (share: number | null | undefined, digits = 1) =>
  share === null || share === undefined ? "–" : `${(share * 100).toFixed(digits)} %`.replace("-", "−");

export const formatMetric = (value: number | null | undefined, digits = 3) =>
  value === null || value === undefined ? "–" : value.toFixed(digits);

/** `1 row`, `2 rows` */
export const plural = (count: number, noun: string, many = `${noun}s`) =>
  `${formatCount(count)} ${count === 1 ? noun : many}`;

const FAMILIES: Record<string, string> = {
  seasonal_naive: "Seasonal naive",
  statistical: "Statistical",
  boosting: "Gradient boosting",
  tft: "Temporal Fusion Transformer",
};

export const familyName = (family: string) => FAMILIES[family] ?? family.replaceAll("_", " ");

const METRICS: Record<string, string> = { mase: "MASE", wql: "WQL", wape: "WAPE", seconds: "Took" };

/** `coverage_80` -> `80 % covers` */
export function metricName(name: string): string {
  const covers = /^coverage_(\d+)$/.exec(name);
  if (covers) return `${covers[1]} % covers`;
  return METRICS[name] ?? name.replaceAll("_", " ");
}

/** A figure the way its name asks for: shares in percent, times in seconds. */
export function formatFigure(name: string, value: unknown): string {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value !== "number") return String(value);
  if (name === "wape" || name.startsWith("coverage_")) return formatPercent(value);
  if (name === "seconds") return `${value.toFixed(1)} s`;
  return Number.isInteger(value) ? formatCount(value) : String(Number(value.toPrecision(4)));
}
