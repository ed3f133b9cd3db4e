import { useMemo } from "react";
import { useTheme } from "../components/theme";

/** Read the chart's colours from the design tokens, so that both themes share one source. */
function readPalette() {
  const style = getComputedStyle(document.documentElement);
  const token = (name: string) => style.getPropertyValue(name).trim();
  return {
    history: token("--chart-history"),
    forecast: token("--chart-forecast"),
    band80: token("--chart-band-80"),
    band95: token("--chart-band-95"),
    actual: token("--chart-actual"),
    naive: token("--chart-naive"),
    future: token("--chart-future"),
    grid: token("--chart-grid"),
    text: token("--chart-text"),
    surface: token("--surface"),
    line: token("--line-strong"),
    ink: token("--ink"),
    bad: token("--bad"),
    font: token("--font"),
  };
}

export type Palette = ReturnType<typeof readPalette>;

/** Palette of the theme in use. */
export function usePalette(): Palette {
  const theme = useTheme();
  // biome-ignore lint/correctness/useExhaustiveDependencies: the theme decides what the tokens are
  return useMemo(() => readPalette(), [theme]);
}
