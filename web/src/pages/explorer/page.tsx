import { lazy, Suspense, useState } from "react";
import { Badge, Button, Card, LoadingRows, Page, Skeleton } from "../../components/basics";
import { CopyButton } from "../../components/copy";
import { Empty, Notice, ProblemView } from "../../components/feedback";
import { download, toCsv } from "../../lib/csv";
import type { Step } from "../../lib/forecast-view";
import { plural } from "../../lib/format";
import { season } from "../../lib/frequency";
import { historyChoices } from "../../lib/history";
import { formatMoment, toIso } from "../../lib/time";
import { AccuracyCard } from "./accuracy-card";
import { Controls } from "./controls";
import { ForecastCard } from "./forecast-card";
import { ForecastTable } from "./forecast-table";
import { Readout } from "./readout";
import type { Selection } from "./selection";
import { type Choices, useChoices, useExplorer } from "./use-explorer";

const FanChart = lazy(() => import("../../charts/fan"));

export function ExplorerPage() {
  const choices = useChoices();
  if (choices.failed) {
    return (
      <Page title="Explorer">
        <ProblemView error={choices.failed.error} retry={() => choices.failed?.refetch()} />
      </Page>
    );
  }
  if (choices.pending)
    return (
      <Page title="Explorer">
        <Card flush>
          <LoadingRows rows={9} />
        </Card>
      </Page>
    );
  if (!choices.selection) {
    return (
      <Page title="Explorer">
        <Card flush>
          <Empty title="Nothing to explore yet" command="quantis demo">
            The explorer shows a series, its forecast and what followed. The demo brings real data, trains a
            model and serves it.
          </Empty>
        </Card>
      </Page>
    );
  }
  return <Explorer choices={choices} selection={choices.selection} />;
}

function Explorer({ choices, selection }: { choices: Choices; selection: Selection }) {
  const { view, entry, issued, known, now, ask, choose } = useExplorer(choices);
  const [cursor, setCursor] = useState<number | null>(null);
  const [showNaive, setShowNaive] = useState(false);
  const asOf = Date.parse(selection.asOf);
  const naive = season(choices.freq).label;

  // Who has a forecast on screen and changes the question wants the new answer.
  const change = (part: Partial<Selection>) => {
    const next = { ...selection, ...part };
    const onlyHistory = Object.keys(part).join() === "history";
    const complete = next.series && next.model && next.asOf && next.h;
    if (selection.forecast && complete && !onlyHistory) ask.mutate({ ...next, forecast: null });
    choose(onlyHistory ? part : { ...part, forecast: null });
  };
  const failed = ask.error ?? known.error ?? now.error ?? issued.error;
  const name = `${selection.series} by ${selection.model}, as of ${formatMoment(selection.asOf)} UTC`;

  return (
    <Page
      title={selection.series || "Explorer"}
      heading="Explorer"
      intro="What was known, what was forecast from it, and what came true."
      actions={
        <>
          <CopyButton text={location.href} label="Copy link to this view" name="Copy link" icon="link" />
          <Button
            icon="download"
            disabled={view.steps.length === 0}
            onClick={() => exportCsv(selection, view.steps)}
          >
            Export CSV
          </Button>
        </>
      }
    >
      <Controls
        choices={choices}
        selection={selection}
        asking={ask.isPending}
        onChoose={change}
        onAsk={(part) => ask.mutate({ ...selection, ...part, forecast: null })}
      />
      {failed && <ProblemView error={failed} />}
      <div className={entry ? "split" : "stack"}>
        <section className="card" aria-label="Chart">
          <div className="card-head">
            <h2 className="series-name">{selection.series}</h2>
            {ask.isPending && <Badge tone="accent">Forecasting…</Badge>}
            {entry && (
              <label className="check small">
                <input type="checkbox" checked={showNaive} onChange={(e) => setShowNaive(e.target.checked)} />
                Show naive
              </label>
            )}
            <HistoryPicker choices={choices} selection={selection} onChoose={change} />
          </div>
          <Readout view={view} cursor={cursor} showNaive={showNaive && view.steps.length > 0} />
          {known.isPending ? (
            <div className="plot">
              <Skeleton height={380} />
            </div>
          ) : (
            <figure>
              <Suspense
                fallback={
                  <div className="plot">
                    <Skeleton height={380} />
                  </div>
                }
              >
                <FanChart
                  view={view}
                  asOf={asOf}
                  label={chartLabel(selection, view.steps, view.history.length)}
                  showNaive={showNaive}
                  cursor={cursor}
                  onCursor={setCursor}
                />
              </Suspense>
              <Scrubber steps={view.steps} history={view.history} cursor={cursor} onCursor={setCursor} />
            </figure>
          )}
          {!entry && !ask.isPending && <Invitation choices={choices} />}
        </section>
        {entry && issued.data && (
          <div className="stack">
            <AccuracyCard accuracy={view.accuracy} naiveLabel={naive} />
            <ForecastCard forecast={issued.data} entry={entry} />
          </div>
        )}
      </div>
      {entry?.status === "refused" && (
        <Notice tone="warn" title="No forecast for this series">
          <p>{entry.detail ?? "There is no history to forecast from."}</p>
        </Notice>
      )}
      {view.steps.length > 0 && (
        <Card title={`The forecast in numbers`} flush>
          <ForecastTable steps={view.steps} step={view.stepMs} caption={`Forecast of ${name}`} />
        </Card>
      )}
    </Page>
  );
}

function Invitation({ choices }: { choices: Choices }) {
  if (choices.options.length === 0) {
    return (
      <div className="invite">
        <p>
          No model is trained on this dataset yet:{" "}
          <code>quantis train {choices.dataset?.name} --model NAME</code>
        </p>
      </div>
    );
  }
  return (
    <div className="invite">
      <p>
        Press <b>Forecast</b> to see the median and its bands from here on. <kbd>[</kbd> and <kbd>]</kbd> walk
        through the series.
      </p>
    </div>
  );
}

interface PickerProps {
  choices: Choices;
  selection: Selection;
  onChoose: (change: Partial<Selection>) => void;
}

function HistoryPicker({ choices, selection, onChoose }: PickerProps) {
  return (
    <fieldset className="segments">
      <legend className="sr-only">History on display</legend>
      {historyChoices(choices.freq).map(({ steps, label }) => (
        <label key={steps}>
          <input
            type="radio"
            name="history"
            checked={selection.history === steps}
            onChange={() => onChoose({ history: steps })}
          />
          {label}
        </label>
      ))}
    </fieldset>
  );
}

interface ScrubberProps {
  steps: Step[];
  history: readonly (readonly [number, number | null])[];
  cursor: number | null;
  onCursor: (time: number | null) => void;
}

/** The cursor for the keyboard: a slider over the chart's times. */
function Scrubber({ steps, history, cursor, onCursor }: ScrubberProps) {
  const times = [...history.map(([t]) => t), ...steps.map((s) => s.time)];
  if (times.length === 0) return null;
  const start = Math.max(0, history.length - 1);
  const at = cursor === null ? start : Math.max(0, times.indexOf(cursor));
  const step = steps.find((s) => s.time === times[at]);
  const value = step
    ? `median ${step.median?.toFixed(2)}, 80 % from ${step.low80?.toFixed(2)} to ${step.high80?.toFixed(2)}`
    : `value ${history[at]?.[1] ?? "missing"}`;
  return (
    <input
      className="scrubber"
      type="range"
      min={0}
      max={times.length - 1}
      value={at}
      aria-label="Move the cursor along the chart"
      aria-valuetext={`${formatMoment(times[at] ?? 0)}: ${value}`}
      onFocus={() => cursor === null && onCursor(times[start] ?? null)}
      onBlur={() => onCursor(null)}
      onChange={(event) => onCursor(times[Number(event.target.value)] ?? null)}
    />
  );
}

function chartLabel(selection: Selection, steps: Step[], history: number): string {
  const past = `${selection.series}: ${plural(history, "step")} of history as of ${formatMoment(selection.asOf)} UTC`;
  if (steps.length === 0) return `${past}, no forecast yet.`;
  return `${past}, then ${plural(steps.length, "step")} of forecast by ${selection.model} with 80 % and 95 % bands and the actuals that followed. The table below holds the numbers.`;
}

function exportCsv(selection: Selection, steps: Step[]): void {
  const header = ["unique_id", "ds", "median", "lo-80", "hi-80", "lo-95", "hi-95", "actual", "naive"];
  const rows = steps.map((s) => [
    selection.series,
    toIso(s.time),
    s.median,
    s.low80,
    s.high80,
    s.low95,
    s.high95,
    s.actual,
    s.naive,
  ]);
  const file = `${selection.series}-${selection.asOf}`.replace(/[^\w-]+/g, "_");
  download(`forecast-${file}.csv`, toCsv(header, rows));
}
