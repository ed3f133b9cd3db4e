import { type FormEvent, useEffect, useState } from "react";
import { Button } from "../../components/basics";
import { Combobox } from "../../components/combobox";
import { NumberField, SelectField, TimeField } from "../../components/fields";
import { shift } from "../../lib/frequency";
import { parseField, toField, toIso } from "../../lib/time";
import type { Selection } from "./selection";
import type { Choices } from "./use-choices";

interface SectionProps {
  choices: Choices;
  selection: Selection;
  onChoose: (change: Partial<Selection>) => void;
}

interface ControlsProps extends SectionProps {
  pending: boolean;
  onForecast: (change: Partial<Selection>) => void;
}

/** Form of the question: which series, by which model, as of when, how far. */
export function Controls({ choices, selection, pending, onChoose, onForecast }: ControlsProps) {
  const maxH = choices.model?.version.h;
  const draft = useDraft(selection, maxH);
  const section = { choices, selection, onChoose };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onForecast(draft.values());
  };
  return (
    <form className="card controls" onSubmit={submit} aria-label="What to forecast">
      <DatasetField {...section} />
      <SeriesField {...section} />
      <ModelField {...section} />
      <AsOfField {...section} draft={draft} />
      <NumberField
        label="Horizon"
        min={1}
        max={maxH}
        required
        value={draft.h}
        onChange={(event) => draft.setH(event.target.value)}
        onBlur={() => Number(draft.h) !== selection.h && onChoose(draft.values())}
      />
      <Button
        type="submit"
        variant="primary"
        icon="spark"
        disabled={pending || !selection.model || !selection.series}
      >
        {pending ? "Forecasting…" : "Forecast"}
      </Button>
    </form>
  );
}

/** Text of the as-of and horizon fields while they are edited; the selection follows when one leaves them. */
function useDraft(selection: Selection, maxH = 10_000) {
  const [asOf, setAsOf] = useState(toField(selection.asOf));
  const [h, setH] = useState(String(selection.h));
  useEffect(() => setAsOf(toField(selection.asOf)), [selection.asOf]);
  useEffect(() => setH(String(selection.h)), [selection.h]);
  const values = (): Pick<Selection, "asOf" | "h"> => ({
    asOf: parseField(asOf) ?? selection.asOf,
    h: Math.max(1, Math.min(Number(h) || selection.h, maxH)),
  });
  return { asOf, setAsOf, h, setH, values };
}

function DatasetField({ choices, selection, onChoose }: SectionProps) {
  return (
    <SelectField
      label="Dataset"
      value={selection.dataset}
      options={choices.datasets?.map(({ name }) => name) ?? []}
      onChange={(event) =>
        onChoose({ dataset: event.target.value, series: "", model: "", asOf: "", h: 0, history: 0 })
      }
    />
  );
}

/** Search for a series, with buttons and keys for its neighbours. */
function SeriesField({ choices: { items, series, setSearch }, selection, onChoose }: SectionProps) {
  const step = (by: number) => {
    const index = items.findIndex((item) => item.unique_id === selection.series);
    const next = items[(index + by + items.length) % items.length];
    if (next) onChoose({ series: next.unique_id });
  };
  useBracketKeys(step);
  return (
    <div className="with-steps">
      <Combobox
        label="Series"
        value={selection.series}
        options={items.map((item) => ({
          value: item.unique_id,
          note: Object.values(item.static ?? {})
            .slice(0, 2)
            .join(" · "),
        }))}
        loading={series.isFetching}
        onSearch={setSearch}
        onSelect={(value) => onChoose({ series: value })}
        onMore={() => series.hasNextPage && !series.isFetchingNextPage && series.fetchNextPage()}
      />
      <Button
        icon="left"
        title="Previous series ( [ )"
        aria-label="Previous series"
        onClick={() => step(-1)}
      />
      <Button icon="right" title="Next series ( ] )" aria-label="Next series" onClick={() => step(1)} />
    </div>
  );
}

function ModelField({ choices: { modelOptions }, selection, onChoose }: SectionProps) {
  const options = modelOptions.map(({ ref, label }) => [ref, label] as const);
  const listed = modelOptions.some(({ ref }) => ref === selection.model);
  const current = [selection.model, selection.model || "No model yet"] as const;
  return (
    <SelectField
      label="Model"
      value={selection.model}
      options={listed ? options : [current, ...options]}
      disabled={options.length === 0}
      onChange={(event) => onChoose({ model: event.target.value })}
    />
  );
}

/** Field for the as-of, with buttons that move it by one horizon. */
function AsOfField({
  choices: { freq },
  selection,
  onChoose,
  draft,
}: SectionProps & { draft: ReturnType<typeof useDraft> }) {
  const move = (steps: number) => onChoose({ asOf: toIso(shift(Date.parse(selection.asOf), freq, steps)) });
  return (
    <div className="with-steps">
      <TimeField
        label="As of (UTC)"
        step={3600}
        required
        value={draft.asOf}
        onChange={(event) => draft.setAsOf(event.target.value)}
        onBlur={() => parseField(draft.asOf) !== selection.asOf && onChoose(draft.values())}
      />
      <Button
        icon="left"
        title="One horizon earlier"
        aria-label="One horizon earlier"
        onClick={() => move(-selection.h)}
      />
      <Button
        icon="right"
        title="One horizon later"
        aria-label="One horizon later"
        onClick={() => move(selection.h)}
      />
    </div>
  );
}

/** Walk through the series by `[` and `]`, unless somebody is typing. */
function useBracketKeys(step: (by: number) => void) {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const typing = (event.target as HTMLElement).closest("input, select, textarea, [contenteditable]");
      if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "[") step(-1);
      if (event.key === "]") step(1);
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  });
}
