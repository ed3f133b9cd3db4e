import { lazy, Suspense, useState } from "react";
import { Badge, Skeleton } from "../../components/basics";
import { Segments } from "../../components/segments";
import type { ForecastView } from "../../lib/forecast-view";
import { plural } from "../../lib/format";
import { historyChoices } from "../../lib/history";
import { formatDateTime } from "../../lib/time";
import { Readout } from "./readout";
import { Scrubber } from "./scrubber";
import type { Selection } from "./selection";
import type { Choices } from "./use-choices";
import type { ForecastState } from "./use-forecast";

const FanChart = lazy(() => import("../../charts/fan"));

interface ChartCardProps {
  choices: Choices;
  selection: Selection;
  state: ForecastState;
}

/** Chart of history and forecast with its legend, and what it shows to be chosen above it. */
export function ChartCard({ choices, selection, state }: ChartCardProps) {
  const { view, entry, issuing } = state;
  const [cursor, setCursor] = useState<number | null>(null);
  const [showNaive, setShowNaive] = useState(false);
  return (
    <section className="card" aria-label="Chart">
      <div className="card-head">
        <h2 className="series-name">{selection.series}</h2>
        {issuing && <Badge tone="accent">Forecasting…</Badge>}
        {entry && (
          <label className="check small">
            <input
              type="checkbox"
              checked={showNaive}
              onChange={(event) => setShowNaive(event.target.checked)}
            />
            Show naive
          </label>
        )}
        <Segments
          legend="History on display"
          name="history"
          value={String(selection.history)}
          options={historyChoices(choices.freq).map(({ steps, label }) => [String(steps), label] as const)}
          onChange={(steps) => state.change({ history: Number(steps) })}
        />
      </div>
      <Readout view={view} cursor={cursor} showNaive={showNaive && view.steps.length > 0} />
      {state.reading ? (
        <PlotPlaceholder />
      ) : (
        <figure>
          <Suspense fallback={<PlotPlaceholder />}>
            <FanChart
              view={view}
              asOf={Date.parse(selection.asOf)}
              label={chartLabel(selection, view)}
              showNaive={showNaive}
              cursor={cursor}
              onCursor={setCursor}
            />
          </Suspense>
          <Scrubber steps={view.steps} history={view.history} cursor={cursor} onCursor={setCursor} />
        </figure>
      )}
      {!entry && !issuing && <Invitation choices={choices} />}
    </section>
  );
}

function PlotPlaceholder() {
  return (
    <div className="plot">
      <Skeleton height={380} />
    </div>
  );
}

/** Next step of somebody who has no forecast on screen yet. */
function Invitation({ choices: { dataset, modelOptions } }: { choices: Choices }) {
  return (
    <div className="invite">
      {modelOptions.length === 0 ? (
        <p>
          No model is trained on this dataset yet: <code>quantis train {dataset?.name} --model NAME</code>
        </p>
      ) : (
        <p>
          Press <b>Forecast</b> to see the median and its bands from here on. <kbd>[</kbd> and <kbd>]</kbd>{" "}
          walk through the series.
        </p>
      )}
    </div>
  );
}

/** Describe the chart in words, for those who do not see it. */
function chartLabel({ series, model, asOf }: Selection, { history, steps }: ForecastView): string {
  const past = `${series}: ${plural(history.length, "step")} of history as of ${formatDateTime(asOf)} UTC`;
  if (steps.length === 0) return `${past}, no forecast yet.`;
  return `${past}, then ${plural(steps.length, "step")} of forecast by ${model} with 80 % and 95 % bands and the actuals that followed. The table below holds the numbers.`;
}
