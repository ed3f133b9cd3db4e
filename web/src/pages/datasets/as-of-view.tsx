import { useState } from "react";
import type { Dataset, DatasetVersion } from "../../api/types";
import { useMay } from "../../auth/use-session";
import { Badge, Button, ButtonLink } from "../../components/basics";
import { Combobox } from "../../components/combobox";
import { Notice, ProblemView } from "../../components/feedback";
import { SelectField } from "../../components/fields";
import { Segments } from "../../components/segments";
import type { DiffRow } from "../../lib/series-diff";
import { formatDateTime, toIso } from "../../lib/time";
import { AsOfPlot } from "./as-of-plot";
import { AsOfField, AsOfSlider } from "./as-of-slider";
import { AsOfTable } from "./as-of-table";
import { CorrectDialog } from "./correct";
import { Deleted, DeleteSeries } from "./delete-series";
import { chartLabel } from "./diff";
import { Revisions } from "./revisions";
import { type AsOfState, useAsOf } from "./use-as-of";
import type { SeriesChoice } from "./use-series";

interface AsOfViewProps {
  dataset: Dataset;
  versions: DatasetVersion[];
  choice: SeriesChoice;
}

/** A series as it was known at any time, beside what is known now. */
export function AsOfView({ dataset, versions, choice }: AsOfViewProps) {
  const { series } = choice;
  const state = useAsOf({ dataset, versions, series });
  const [correcting, setCorrecting] = useState<DiffRow | null>(null);
  const [stored, setStored] = useState<number | null>(null);
  const mayCorrect = useMay("analyst") && !state.pinned && !state.deleted;
  const when = state.asOf === state.now ? "now" : `${formatDateTime(state.asOf)} UTC`;
  const subject = state.column === "y" ? series : `${state.column} of ${series}`;
  return (
    <>
      <AsOfCard dataset={dataset.name} choice={choice} state={state} subject={subject} when={when} />
      {stored !== null && (
        <Notice tone="good" title={`Version ${stored} holds the correction`}>
          <p>It is the one known from now on; slide back to see what was known before.</p>
        </Notice>
      )}
      <CorrectDialog
        dataset={dataset.name}
        series={series}
        column={state.column}
        stepMs={state.stepMs}
        row={correcting}
        onClose={() => setCorrecting(null)}
        onStored={(version) => {
          setCorrecting(null);
          setStored(version);
        }}
      />
      {state.query.data && (
        <AsOfTable
          key={series}
          rows={state.rows}
          counts={state.counts}
          stepMs={state.stepMs}
          caption={`${subject} as known at ${when} and as known now`}
          busy={state.query.isPlaceholderData}
          onCorrect={mayCorrect ? setCorrecting : undefined}
        />
      )}
    </>
  );
}

interface AsOfCardProps {
  dataset: string;
  choice: SeriesChoice;
  state: AsOfState;
  subject: string;
  when: string;
}

/** Controls of the as-of view above its chart. */
function AsOfCard({ dataset, choice, state, subject, when }: AsOfCardProps) {
  const { series } = choice;
  const { query, counts, showLater } = state;
  const explorer = new URLSearchParams({ dataset, series, as_of: toIso(state.asOf) });
  return (
    <section className="card as-of-card" aria-labelledby="as-of-title">
      <div className="card-head">
        <h2 id="as-of-title">What we knew when</h2>
        {!state.pinned && !state.deleted && <DeleteSeries dataset={dataset} series={series} />}
        <ButtonLink to={`/explorer?${explorer}`} small icon="explorer">
          Forecast from here
        </ButtonLink>
      </div>
      {state.pinned && <Pinned state={state} />}
      <Controls choice={choice} state={state} />
      <AsOfSlider state={state} />
      <Revisions dataset={dataset} series={series} state={state} />
      {state.deleted && <Deleted dataset={dataset} series={series} />}
      {query.error ? (
        <div className="card-body">
          <ProblemView error={query.error} retry={() => query.refetch()} />
        </div>
      ) : (
        <AsOfPlot state={state} label={chartLabel({ subject, when, counts, showLater })} />
      )}
    </section>
  );
}

function Pinned({ state }: { state: AsOfState }) {
  return (
    <p className="pinned">
      <Badge tone="accent">version {state.version.number}</Badge>
      <span>“Now” is what this version says; what was stored after it changes nothing here.</span>
      <Button small variant="ghost" onClick={() => state.change({ version: null })}>
        Unpin
      </Button>
    </p>
  );
}

function Controls({ choice, state }: { choice: SeriesChoice; state: AsOfState }) {
  return (
    <div className="as-of-controls">
      <Combobox
        label="Series"
        value={choice.series}
        options={choice.options}
        loading={choice.pages.isFetching}
        onSearch={choice.setSearch}
        onSelect={(series) => state.change({ series }, false)}
        onMore={choice.more}
      />
      {state.columns.length > 1 && (
        <SelectField
          label="Column"
          value={state.column}
          options={state.columns}
          onChange={(event) =>
            state.change({ column: event.target.value === "y" ? null : event.target.value })
          }
        />
      )}
      <AsOfField state={state} />
      {state.windows.length > 1 && (
        <Segments
          legend="Time on display"
          name="window"
          value={state.window}
          options={state.windows.map(({ name, label }) => [name, label] as const)}
          onChange={(window) => state.change({ window })}
        />
      )}
    </div>
  );
}
