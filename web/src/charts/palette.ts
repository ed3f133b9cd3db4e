/** The chart's colours, read from the design tokens, so that both themes share one source. */
export function palette() {
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

export type Palette = ReturnType<typeof palette>;
