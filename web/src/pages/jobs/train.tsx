import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useNavigate, useSearchParams } from "react-router";
import { api, idempotencyKey } from "../../api/client";
import { asProblem, unwrap } from "../../api/problem";
import { dataset as datasetQuery, datasets as datasetsQuery } from "../../api/queries";
import type { TftParams, TrainSpec } from "../../api/types";
import { Button, Card, Field, LoadingRows, Page } from "../../components/basics";
import { Empty, ProblemView } from "../../components/feedback";
import { NAME_PATTERN } from "../../lib/roles";
import { parseField } from "../../lib/time";
import { type Effort, EffortFields, FAMILY_NAMES, minutesOf } from "./budget";

const TFT: { name: keyof TftParams; label: string; min: number; max?: number; step?: string }[] = [
  { name: "steps", label: "Steps (the budget)", min: 1 },
  { name: "hidden_size", label: "Hidden size", min: 4, max: 512 },
  { name: "encoder_length", label: "Encoder length", min: 2, max: 4096 },
  { name: "batch_size", label: "Batch size", min: 1, max: 8192 },
  { name: "learning_rate", label: "Learning rate", min: 0.000001, max: 1, step: "any" },
  { name: "dropout", label: "Dropout", min: 0, max: 0.99, step: "any" },
  { name: "workers", label: "Workers", min: 1, max: 64 },
  { name: "seed", label: "Seed", min: 0 },
];

export function Component() {
  const datasets = useQuery(datasetsQuery);
  const filled = datasets.data?.filter((d) => d.latest_version) ?? [];
  return (
    <Page
      title="Train a model"
      intro="Every family is compared on rolling origins; the best becomes a candidate, and champion if it beats naive."
      back={{ to: "/jobs", label: "Jobs" }}
    >
      {datasets.error && <ProblemView error={datasets.error} retry={() => datasets.refetch()} />}
      {datasets.isPending && <LoadingRows />}
      {datasets.data && filled.length === 0 && (
        <Card flush>
          <Empty title="No dataset to train on" command="quantis data push NAME FILE.csv">
            Training needs a dataset with at least one version.
          </Empty>
        </Card>
      )}
      {filled.length > 0 && <TrainForm names={filled.map((d) => d.name)} />}
    </Page>
  );
}

function TrainForm({ names }: { names: string[] }) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const [params, setParams] = useSearchParams();
  const dataset = names.find((name) => name === params.get("dataset")) ?? names[0] ?? "";
  const found = useQuery(datasetQuery(dataset));
  const [effort, setEffort] = useState<Effort>({ preset: "balanced", families: FAMILY_NAMES });
  // One key for one intention: pressing again after a lost answer makes no second job.
  const [key, setKey] = useState(idempotencyKey);
  const submit = useMutation({
    mutationFn: (spec: TrainSpec) =>
      unwrap(api.POST("/v1/jobs", { body: { spec }, params: { header: { "idempotency-key": key } } })),
    onSuccess: (job) => {
      client.invalidateQueries({ queryKey: ["jobs"] });
      navigate(`/jobs/${job.id}`);
    },
    onError: (error) => {
      if (asProblem(error).status > 0) setKey(idempotencyKey());
    },
  });
  const onSubmit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    submit.mutate(specOf(new FormData(event.currentTarget), dataset, effort));
  };
  const minutes = minutesOf(effort);
  const none = effort.preset === "own" && effort.families.length === 0;
  const advance = found.data?.roles.futr_exog ?? [];
  return (
    <form className="stack narrow" onSubmit={onSubmit}>
      <Card title="What to learn">
        <div className="form-grid">
          <Field label="Dataset">
            {(id) => (
              <select
                id={id}
                className="input"
                value={dataset}
                onChange={(e) => setParams({ dataset: e.target.value }, { replace: true })}
              >
                {names.map((name) => (
                  <option key={name}>{name}</option>
                ))}
              </select>
            )}
          </Field>
          <Field label="Model name" hint="A new name, or one that gets a new version.">
            {(id, d) => (
              <input
                id={id}
                aria-describedby={d}
                name="model"
                className="input"
                required
                pattern={NAME_PATTERN}
                title="Lower-case letters, digits, - and _, starting with a letter"
                placeholder="demand"
                autoComplete="off"
              />
            )}
          </Field>
          <Field label="Horizon" hint="Steps to forecast.">
            {(id, d) => (
              <input
                id={id}
                aria-describedby={d}
                name="h"
                className="input"
                type="number"
                min={1}
                max={10000}
                required
                defaultValue={24}
              />
            )}
          </Field>
          <Field label="As of (UTC)" hint="Learn only what was known then; empty for now.">
            {(id, d) => (
              <input
                id={id}
                aria-describedby={d}
                name="as-of"
                className="input"
                type="datetime-local"
                step={3600}
              />
            )}
          </Field>
        </div>
      </Card>
      <Card title="How to compare">
        <div className="stack">
          <EffortFields effort={effort} onChange={setEffort} />
          <div className="form-grid fixed">
            <Field label="Backtest windows" hint="Rolling origins; empty for as many as tell enough.">
              {(id, d) => (
                <input
                  id={id}
                  aria-describedby={d}
                  name="windows"
                  className="input"
                  type="number"
                  min={1}
                  max={50}
                />
              )}
            </Field>
            <Field
              label="Time limit (minutes)"
              hint={
                minutes
                  ? `Shared among the families; empty for ${minutes}.`
                  : "Shared among the families; empty for as long as it takes."
              }
            >
              {(id, d) => (
                <input
                  id={id}
                  aria-describedby={d}
                  name="minutes"
                  className="input"
                  type="number"
                  min={1}
                  max={10080}
                />
              )}
            </Field>
          </div>
          {advance.length > 0 && (
            <fieldset>
              <legend>Baselines: columns known in advance, scored as forecasts on their own</legend>
              <div className="actions">
                {advance.map((column) => (
                  <label key={column} className="check">
                    <input type="checkbox" name="baseline" value={column} />
                    <code>{column}</code>
                  </label>
                ))}
              </div>
            </fieldset>
          )}
        </div>
      </Card>
      <details className="card disclosure">
        <summary>Advanced: size and budget of the Temporal Fusion Transformer</summary>
        <div className="card-body form-grid">
          {TFT.map(({ name, label, ...limits }) => (
            <Field key={name} label={label}>
              {(id) => (
                <input
                  id={id}
                  name={`tft-${name}`}
                  className="input"
                  type="number"
                  placeholder="default"
                  {...limits}
                />
              )}
            </Field>
          ))}
        </div>
      </details>
      {submit.error && <ProblemView error={submit.error} />}
      <div className="actions">
        <Button type="submit" variant="primary" disabled={submit.isPending || none}>
          {submit.isPending ? "Submitting…" : "Start training"}
        </Button>
        {none && <span className="hint">Choose at least one family.</span>}
      </div>
    </form>
  );
}

function specOf(form: FormData, dataset: string, { preset, families }: Effort): TrainSpec {
  const number = (name: string) => Number(form.get(name));
  // What is left empty stays out of the request: the platform knows its own defaults.
  const given = TFT.filter(({ name }) => form.get(`tft-${name}`));
  const tft = Object.fromEntries(given.map(({ name }) => [name, number(`tft-${name}`)]));
  return {
    kind: "train",
    dataset,
    model: String(form.get("model")),
    as_of: parseField(String(form.get("as-of"))),
    h: number("h"),
    ...(preset === "own" ? { families } : { preset }),
    ...(form.get("windows") && { n_windows: number("windows") }),
    ...(form.get("minutes") && { time_limit: `PT${number("minutes")}M` }),
    baselines: form.getAll("baseline").map(String),
    tft,
  };
}
