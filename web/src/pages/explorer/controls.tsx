import { type FormEvent, useEffect, useState } from "react";
import { Button, Field } from "../../components/basics";
import { Combobox } from "../../components/combobox";
import { shift } from "../../lib/frequency";
import { parseField, toField, toIso } from "../../lib/time";
import type { Selection } from "./selection";
import type { Choices } from "./use-explorer";

interface ControlsProps {
  choices: Choices;
  selection: Selection;
  asking: boolean;
  onChoose: (change: Partial<Selection>) => void;
  onAsk: (change: Partial<Selection>) => void;
}

/** The question: which series, by which model, as of when, how far. */
export function Controls({ choices, selection, asking, onChoose, onAsk }: ControlsProps) {
  const { datasets = [], series, ids, options, freq, setSearch } = choices;
  const [asOf, setAsOf] = useState(toField(selection.asOf));
  const [h, setH] = useState(String(selection.h));
  useEffect(() => setAsOf(toField(selection.asOf)), [selection.asOf]);
  useEffect(() => setH(String(selection.h)), [selection.h]);
  const most = choices.model?.version.h;

  const typed = (): Partial<Selection> => ({
    asOf: parseField(asOf) ?? selection.asOf,
    h: Math.max(1, Math.min(Number(h) || selection.h, most ?? 10_000)),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onAsk(typed());
  };
  const move = (steps: number) => onChoose({ asOf: toIso(shift(Date.parse(selection.asOf), freq, steps)) });
  const step = (by: number) => {
    const at = ids.findIndex((s) => s.unique_id === selection.series);
    const next = ids[(at + by + ids.length) % ids.length];
    if (next) onChoose({ series: next.unique_id });
  };
  useBrackets(step);

  return (
    <form className="card controls" onSubmit={submit} aria-label="What to forecast">
      <Field label="Dataset">
        {(id) => (
          <select
            id={id}
            className="input"
            value={selection.dataset}
            onChange={(e) =>
              onChoose({ dataset: e.target.value, series: "", model: "", asOf: "", h: 0, history: 0 })
            }
          >
            {datasets.map((d) => (
              <option key={d.name}>{d.name}</option>
            ))}
          </select>
        )}
      </Field>
      <div className="with-steps">
        <Combobox
          label="Series"
          value={selection.series}
          options={ids.map((s) => ({
            value: s.unique_id,
            note: Object.values(s.static ?? {})
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
      <Field label="Model">
        {(id) => (
          <select
            id={id}
            className="input"
            value={selection.model}
            disabled={options.length === 0}
            onChange={(e) => onChoose({ model: e.target.value })}
          >
            {!options.some((o) => o.ref === selection.model) && (
              <option value={selection.model}>{selection.model || "No model yet"}</option>
            )}
            {options.map((o) => (
              <option key={o.ref} value={o.ref}>
                {o.label}
              </option>
            ))}
          </select>
        )}
      </Field>
      <div className="with-steps">
        <Field label="As of (UTC)">
          {(id) => (
            <input
              id={id}
              className="input"
              type="datetime-local"
              step={3600}
              required
              value={asOf}
              onChange={(e) => setAsOf(e.target.value)}
              onBlur={() => parseField(asOf) !== selection.asOf && onChoose(typed())}
            />
          )}
        </Field>
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
      <Field label="Horizon">
        {(id) => (
          <input
            id={id}
            className="input"
            type="number"
            min={1}
            max={most}
            required
            value={h}
            onChange={(e) => setH(e.target.value)}
            onBlur={() => Number(h) !== selection.h && onChoose(typed())}
          />
        )}
      </Field>
      <Button
        type="submit"
        variant="primary"
        icon="spark"
        disabled={asking || !selection.model || !selection.series}
      >
        {asking ? "Forecasting…" : "Forecast"}
      </Button>
    </form>
  );
}

/** `[` and `]` walk through the series, unless somebody is typing. */
function useBrackets(step: (by: number) => void) {
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
