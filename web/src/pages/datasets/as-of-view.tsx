import { lazy, Suspense, useState } from "react";
import type { Dataset, DatasetVersion } from "../../api/types";
import { useMay } from "../../auth/use-session";
import { Badge, Button, ButtonLink, Field, Skeleton } from "../../components/basics";
import { Combobox } from "../../components/combobox";
import { Notice, ProblemView } from "../../components/feedback";
import { formatCount, formatValue, plural } from "../../lib/format";
import type { Counts, Row } from "../../lib/series-diff";
import { formatMoment, toIso } from "../../lib/time";
import { AsOfField, AsOfSlider } from "./as-of-slider";
import { KnownTable } from "./as-of-table";
import { CorrectDialog } from "./correct";
import { Deleted, DeleteSeries } from "./delete-series";
import { Revisions } from "./revisions";
import { type Known, useKnown } from "./use-as-of";
import type { SeriesChoice } from "./use-series";

const KnownChart = lazy(() => import("../../charts/as-of"));

interface KnownPanelProps {
  dataset: Dataset;
  versions: DatasetVersion[];
  choice: SeriesChoice;
}

/** A series as it was known at any time, beside what is known now. */
export function KnownPanel({ dataset, versions, choice }: KnownPanelProps) {
  const series = choice.series;
  const known = useKnown({ dataset, versions, series });
  const { asOf, now, counts, rows } = known;
  const when = asOf === now ? "now" : `${formatMoment(asOf)} UTC`;
  const of = known.column === "y" ? series : `${known.column} of ${series}`;
  const [correcting, setCorrecting] = useState<Row | null>(null);
  const [stored, setStored] = useState<number | null>(null);
  const mayCorrect = useMay("analyst") && !known.pinned && !known.deleted;
  const explorer = new URLSearchParams({ dataset: dataset.name, series, as_of: toIso(asOf) });
  return (
    <>
      <section className="card known" aria-labelledby="known-title">
        <div className="card-head">
          <h2 id="known-title">What we knew when</h2>
          {!known.pinned && !known.deleted && <DeleteSeries dataset={dataset.name} series={series} />}
          <ButtonLink to={`/explorer?${explorer}`} small icon="explorer">
            Forecast from here
          </ButtonLink>
        </div>
        {known.pinned && <Pinned known={known} />}
        <div className="known-controls">
          <Combobox
            label="Series"
            value={series}
            options={choice.options}
            loading={choice.pages.isFetching}
            onSearch={choice.setTyped}
            onSelect={(value) => known.change({ series: value }, false)}
            onMore={choice.more}
          />
          {known.columns.length > 1 && <ColumnField known={known} />}
          <AsOfField known={known} />
          <WindowPicker known={known} />
        </div>
        <AsOfSlider known={known} />
        <Revisions dataset={dataset.name} series={series} known={known} />
        {known.deleted && <Deleted dataset={dataset.name} series={series} />}
        {known.known.error ? (
          <div className="card-body">
            <ProblemView error={known.known.error} retry={() => known.known.refetch()} />
          </div>
        ) : (
          <Picture known={known} label={labelOf(of, when, counts, known.showLater)} />
        )}
      </section>
      {stored !== null && (
        <Notice tone="good" title={`Version ${stored} holds the correction`}>
          <p>It is the one known from now on; slide back to see what was known before.</p>
        </Notice>
      )}
      <CorrectDialog
        dataset={dataset.name}
        series={series}
        column={known.column}
        stepMs={known.stepMs}
        row={correcting}
        onClose={() => setCorrecting(null)}
        onDone={(version) => {
          setCorrecting(null);
          setStored(version);
        }}
      />
      {known.known.data && (
        <KnownTable
          key={series}
          rows={rows}
          counts={counts}
          stepMs={known.stepMs}
          caption={`${of} as known at ${when} and as known now`}
          busy={known.known.isPlaceholderData}
          onCorrect={mayCorrect ? setCorrecting : undefined}
        />
      )}
    </>
  );
}

function Pinned({ known }: { known: Known }) {
  return (
    <p className="pinned">
      <Badge tone="accent">version {known.version.number}</Badge>
      <span>“Now” is what this version says; what was stored after it changes nothing here.</span>
      <Button small variant="ghost" onClick={() => known.change({ version: null })}>
        Unpin
      </Button>
    </p>
  );
}

function ColumnField({ known }: { known: Known }) {
  return (
    <Field label="Column">
      {(id) => (
        <select
          id={id}
          className="input"
          value={known.column}
          onChange={(e) => known.change({ column: e.target.value === "y" ? null : e.target.value })}
        >
          {known.columns.map((column) => (
            <option key={column}>{column}</option>
          ))}
        </select>
      )}
    </Field>
  );
}

function WindowPicker({ known }: { known: Known }) {
  if (known.windows.length < 2) return null;
  return (
    <fieldset className="segments">
      <legend className="sr-only">Time on display</legend>
      {known.windows.map(({ name, label }) => (
        <label key={name}>
          <input
            type="radio"
            name="window"
            checked={known.window === name}
            onChange={() => known.change({ window: name })}
          />
          {label}
        </label>
      ))}
    </fieldset>
  );
}

function Picture({ known, label }: { known: Known; label: string }) {
  const [cursor, setCursor] = useState<number | null>(null);
  const { counts, rows, showLater, asOf, now } = known;
  const waiting = (
    <div className="plot">
      <Skeleton height={360} />
    </div>
  );
  return (
    <>
      <p className="verdict" role="status" aria-busy={known.known.isPlaceholderData}>
        <Sentence counts={counts} asOf={asOf} now={now} ready={known.known.data !== undefined} />
      </p>
      <Legend counts={counts} row={rows.find(({ time }) => time === cursor)} showLater={showLater}>
        <label className="check small">
          <input
            type="checkbox"
            checked={showLater}
            onChange={(e) => known.change({ later: e.target.checked ? "1" : null })}
          />
          Show what became known later
        </label>
      </Legend>
      {known.known.data ? (
        <figure>
          <Suspense fallback={waiting}>
            <KnownChart
              rows={rows}
              asOf={asOf}
              stepMs={known.stepMs}
              domain={known.domain}
              showLater={showLater}
              label={label}
              cursor={cursor}
              onCursor={setCursor}
            />
          </Suspense>
        </figure>
      ) : (
        waiting
      )}
    </>
  );
}

interface SentenceProps {
  counts: Counts;
  asOf: number;
  now: number;
  ready: boolean;
}

function Sentence({ counts, asOf, now, ready }: SentenceProps) {
  if (!ready) return "Reading…";
  if (asOf === now) return `Now ${plural(counts.known, "value")} on display are known.`;
  const when = <b>{formatMoment(asOf)}</b>;
  if (counts.known === 0) return <>At {when} nothing on display was known yet.</>;
  return (
    <>
      At {when} we knew <b>{plural(counts.known, "value")}</b> on display: {sinceThen(counts)}
    </>
  );
}

/** `2 changed since, 84 came later, none is gone.` */
function sinceThen({ changed, appeared, vanished }: Counts): string {
  const gone = vanished ? `${formatCount(vanished)} ${vanished === 1 ? "is" : "are"}` : "none is";
  return `${changed ? formatCount(changed) : "none"} changed since, ${formatCount(appeared)} came later, ${gone} gone.`;
}

interface LegendProps {
  counts: Counts;
  row: Row | undefined;
  showLater: boolean;
  children: React.ReactNode;
}

function Legend({ counts, row, showLater, children }: LegendProps) {
  const differs = row !== undefined && row.fate !== "same";
  return (
    <div className="readout">
      <Key kind="history" name="Known then" value={row?.was} />
      {(counts.changed > 0 || showLater) && (
        <Key kind="corrected" name="Known now" value={differs ? row.is : undefined} />
      )}
      {counts.vanished > 0 && <Key kind="gone" name="Gone since" />}
      <span className="grow" />
      {children}
    </div>
  );
}

function Key({ kind, name, value }: { kind: string; name: string; value?: number | null }) {
  return (
    <span className="key">
      <i className={kind} />
      {name} {value !== undefined && <b>{formatValue(value)}</b>}
    </span>
  );
}

function labelOf(of: string, when: string, counts: Counts, showLater: boolean): string {
  const later = counts.appeared
    ? `${counts.appeared} became known later and are ${showLater ? "dotted" : "hidden"}`
    : "nothing became known later";
  return `${of} as known at ${when}: ${plural(counts.known, "value")}, ${counts.changed} changed since, ${counts.vanished} gone since, ${later}. The table below holds both values.`;
}
