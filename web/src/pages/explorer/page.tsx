import type { ReactNode } from "react";
import { Button, Card, LoadingRows, Page } from "../../components/basics";
import { CopyButton } from "../../components/copy";
import { Empty, Notice, ProblemView } from "../../components/feedback";
import { download, toCsv } from "../../lib/csv";
import type { ForecastStep } from "../../lib/forecast-view";
import { season } from "../../lib/frequency";
import { formatDateTime, toIso } from "../../lib/time";
import { AccuracyCard } from "./accuracy-card";
import { ChartCard } from "./chart-card";
import { Controls } from "./controls";
import { ForecastCard } from "./forecast-card";
import { ForecastTable } from "./forecast-table";
import { answering, hasLearned, type Selection } from "./selection";
import { type Choices, useChoices } from "./use-choices";
import { useForecast } from "./use-forecast";

export function ExplorerPage() {
  const choices = useChoices();
  const { failed, pending, selection } = choices;
  if (selection && !failed && !pending) return <Explorer choices={choices} selection={selection} />;
  return <Page title="Explorer">{instead(failed, pending)}</Page>;
}

/** Content of the page while there is nothing to choose from. */
function instead(failed: Choices["failed"], pending: boolean): ReactNode {
  if (failed) return <ProblemView error={failed.error} retry={() => failed.refetch()} />;
  return (
    <Card flush>
      {pending ? (
        <LoadingRows rows={9} />
      ) : (
        <Empty title="Nothing to explore yet" command="quantis demo">
          The explorer shows a series, its forecast and what followed. The demo brings real data, trains a
          model and serves it.
        </Empty>
      )}
    </Card>
  );
}

function Explorer({ choices, selection }: { choices: Choices; selection: Selection }) {
  const state = useForecast(selection, choices.freq);
  const { view, entry, forecast } = state;
  const { series, model, asOf } = selection;
  return (
    <Page
      title={series || "Explorer"}
      heading="Explorer"
      intro="What was known, what was forecast from it, and what came true."
      actions={<Actions selection={selection} steps={view.steps} />}
    >
      <Controls
        choices={choices}
        selection={selection}
        pending={state.issuing}
        onChoose={state.change}
        onForecast={state.issue}
      />
      {state.error && <ProblemView error={state.error} />}
      <div className={entry ? "split" : "stack"}>
        <ChartCard choices={choices} selection={selection} state={state} />
        {entry && forecast && (
          <div className="stack">
            <AccuracyCard
              accuracy={view.accuracy}
              naiveLabel={season(choices.freq).label}
              learned={hasLearned(forecast.as_of, answering(choices.modelVersions, forecast, entry))}
            />
            <ForecastCard forecast={forecast} entry={entry} />
          </div>
        )}
      </div>
      {entry?.status === "refused" && (
        <Notice tone="warn" title="No forecast for this series">
          <p>{entry.detail ?? "There is no history to forecast from."}</p>
        </Notice>
      )}
      {view.steps.length > 0 && (
        <Card title="The forecast in numbers" flush>
          <ForecastTable
            steps={view.steps}
            stepMs={view.stepMs}
            caption={`Forecast of ${series} by ${model}, as of ${formatDateTime(asOf)} UTC`}
          />
        </Card>
      )}
    </Page>
  );
}

interface ActionsProps {
  selection: Selection;
  steps: ForecastStep[];
}

function Actions({ selection, steps }: ActionsProps) {
  return (
    <>
      <CopyButton text={location.href} label="Copy link to this view" name="Copy link" icon="link" />
      <Button icon="download" disabled={steps.length === 0} onClick={() => exportCsv(selection, steps)}>
        Export CSV
      </Button>
    </>
  );
}

function exportCsv({ series, asOf }: Selection, steps: ForecastStep[]): void {
  const header = ["unique_id", "ds", "median", "lo-80", "hi-80", "lo-95", "hi-95", "actual", "naive"];
  const rows = steps.map((step) => [
    series,
    toIso(step.time),
    step.median,
    step.low80,
    step.high80,
    step.low95,
    step.high95,
    step.actual,
    step.naive,
  ]);
  const name = `${series}-${asOf}`.replace(/[^\w-]+/g, "_");
  download(`forecast-${name}.csv`, toCsv(header, rows));
}
