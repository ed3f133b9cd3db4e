import type { Quota } from "../../api/types";
import { formatBytes, formatCount } from "../../lib/format";
import { formatSeconds } from "../../lib/time";

export const QUOTA_NAMES: Record<string, string> = {
  jobs_at_once: "Jobs at once",
  jobs_waiting: "Jobs that wait",
  cpu_seconds: "CPU time of jobs this month",
  gpu_seconds: "GPU time of jobs this month",
  storage_mb: "Storage",
  requests_per_minute: "Requests this minute",
  forecast_days: "Forecasts are kept",
} satisfies Record<keyof Quota, string>;

/** Format a figure of a quota: times as times, megabytes as bytes. */
export function formatAmount(name: string, value: number): string {
  if (name.endsWith("_seconds")) return value === 0 ? "none" : formatSeconds(value);
  if (name === "storage_mb") return formatBytes(Math.round(value * 1e6));
  return formatCount(value);
}

/** Return the share of a quota that is used; 0 without a limit, 1 where nothing is allowed. */
export function usedShare({ used, limit }: { used: number; limit: number | null }): number {
  if (limit === null) return 0;
  return limit === 0 ? 1 : used / limit;
}
