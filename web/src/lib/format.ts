/** Space between a figure and its unit, at which no line breaks. */
const SPACE = "\u00a0";

const groups = new Intl.NumberFormat("en-US");

export const formatCount = (value: number) => groups.format(value);

/** Format a value of a series with as many digits as its size deserves. */
export function formatValue(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 10_000) return groups.format(Math.round(value));
  if (size >= 1000) return value.toFixed(0);
  return value.toFixed(size >= 100 ? 1 : 2);
}

export const formatPercent = (share: number | null | undefined, digits = 1) =>
  share === null || share === undefined ? "–" : `${(share * 100).toFixed(digits)}${SPACE}%`.replace("-", "−");

export const formatMetric = (value: number | null | undefined, digits = 3) =>
  value === null || value === undefined ? "–" : value.toFixed(digits);

/** Format a size: `812 B`, `34 kB`, `1.2 MB`, `3.4 GB`. */
export function formatBytes(size: number | null | undefined): string {
  if (size === null || size === undefined) return "–";
  if (size < 1000) return `${size}${SPACE}B`;
  if (size < 1e6) return `${(size / 1e3).toFixed(0)}${SPACE}kB`;
  return size < 1e9 ? `${(size / 1e6).toFixed(1)}${SPACE}MB` : `${(size / 1e9).toFixed(1)}${SPACE}GB`;
}

/** Format a count with its noun: `1 row`, `2 rows`. */
export const plural = (count: number, noun: string, plurals = `${noun}s`) =>
  `${formatCount(count)} ${count === 1 ? noun : plurals}`;

const FAMILIES: Record<string, string> = {
  seasonal_naive: "Seasonal naive",
  theta: "Theta",
  statistical: "Statistical",
  boosting: "Gradient boosting",
  boosting_recent: "Gradient boosting, old data fading",
  boosting_plain: "Gradient boosting, no covariates",
  tft: "Temporal Fusion Transformer",
  ensemble: "Blend of the best",
};

export const familyName = (family: string) => FAMILIES[family] ?? family.replaceAll("_", " ");

/** Names of the metrics, in the order in which they are read. */
const METRICS: Record<string, string> = {
  mase: "MASE",
  rmsse: "RMSSE",
  wape: "WAPE",
  smape: "sMAPE",
  wql: "WQL",
  bias: "Bias",
  msis: "MSIS",
  pinball: "Pinball",
  crps: "CRPS",
  seconds: "Took",
};

/** Sort names: metrics in their usual order, then others, times last. */
export function inMetricOrder(names: readonly string[]): string[] {
  const order = Object.keys(METRICS);
  const rank = (name: string) => {
    if (name.startsWith("coverage_")) return order.indexOf("bias") + 0.5;
    if (name === "seconds") return order.length + 1;
    return order.includes(name) ? order.indexOf(name) : order.length;
  };
  return [...names].sort((a, b) => rank(a) - rank(b));
}

/** Name a metric: `coverage_80` -> `80 % covers`. */
export function metricName(name: string): string {
  const coverage = /^coverage_(\d+)$/.exec(name);
  if (coverage) return `${coverage[1]}${SPACE}% covers`;
  return METRICS[name] ?? name.replaceAll("_", " ");
}

/** Format a figure by its name: shares in percent, times in seconds. */
export function formatFigure(name: string, value: unknown): string {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value !== "number") return String(value);
  if (name === "wape" || name.startsWith("coverage_")) return formatPercent(value);
  if (name === "bias") return `${value > 0 ? "+" : ""}${formatPercent(value)}`;
  if (name === "smape") return formatPercent(value / 100);
  if (name === "mase" || name === "rmsse") return formatMetric(value);
  if (name === "wql") return formatMetric(value, 4);
  if (name === "seconds") return `${value.toFixed(1)}${SPACE}s`;
  return Number.isInteger(value) ? formatCount(value) : String(Number(value.toPrecision(4)));
}
