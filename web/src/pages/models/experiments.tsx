import { useQuery, useQueryClient } from "@tanstack/react-query";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { modelExperiments } from "../../api/queries-admin";
import type { OnlineExperiment } from "../../api/types";
import { useMay } from "../../auth/use-session";
import { Badge, Card, type Tone } from "../../components/basics";
import { Confirm } from "../../components/confirm";
import { ProblemView } from "../../components/feedback";
import { formatCount, formatPercent } from "../../lib/format";
import { formatDateTime } from "../../lib/time";

const STATE_TONES: Record<OnlineExperiment["state"], Tone | undefined> = {
  running: "accent",
  promoted: "good",
  rolled_back: "bad",
  inconclusive: "warn",
  stopped: undefined,
};

/** Experiments of a model, newest first, with their verdicts; nothing where there was none. */
export function Experiments({ model }: { model: string }) {
  const experiments = useQuery(modelExperiments(model));
  if (experiments.error) return <ProblemView error={experiments.error} retry={() => experiments.refetch()} />;
  if (!experiments.data?.length) return null;
  return (
    <Card title="Experiments">
      {experiments.data.map((experiment) => (
        <ExperimentRow key={experiment.id} experiment={experiment} />
      ))}
    </Card>
  );
}

function ExperimentRow({ experiment }: { experiment: OnlineExperiment }) {
  const { name, challenger, incumbent, state, reason, latest } = experiment;
  const mayStop = useMay("ml_engineer") && state === "running";
  return (
    <section className="stack apart" aria-label={`Experiment ${name}`}>
      <h3>
        {name} <Badge tone={STATE_TONES[state]}>{state.replaceAll("_", " ")}</Badge>
      </h3>
      <p>
        Version {challenger} against {incumbent}, {modeText(experiment)}. {timeText(experiment)}
      </p>
      {latest && <p>{verdictText(latest.verdict)}</p>}
      {reason && <p className="muted">{reason}</p>}
      {mayStop && <Stop experiment={experiment} />}
    </section>
  );
}

function Stop({ experiment: { id, name, model } }: { experiment: OnlineExperiment }) {
  const client = useQueryClient();
  const stop = async () => {
    const params = { path: { experiment_id: id } };
    await unwrap(api.POST("/v1/experiments-online/{experiment_id}/stop", { params }));
    await client.invalidateQueries({ queryKey: ["models", model] });
  };
  return (
    <div>
      <Confirm button="Stop" title={`Stop the experiment ${name}?`} action="Stop it" run={stop}>
        The champion answers everything again, at once. What was found so far is kept.
      </Confirm>
    </div>
  );
}

/** Say what the challenger does: it forecasts beside the champion, or answers a share of the series. */
function modeText({ mode, traffic, ramp }: OnlineExperiment): string {
  if (mode === "shadow") return "in the shadow";
  return `as a canary on ${traffic} % of the series (${ramp.map((step) => step.percent).join(", ")} %)`;
}

function timeText({ started_at, ended_at }: OnlineExperiment): string {
  const started = `Started ${formatDateTime(started_at)}`;
  return ended_at ? `${started}, ended ${formatDateTime(ended_at)}.` : `${started}.`;
}

type Verdict = NonNullable<OnlineExperiment["latest"]>["verdict"];

/** Say how the losses of the two compare, within which bounds, and on how many pairs. */
export function verdictText({ state, estimate, low, high, pairs }: Verdict): string {
  if (estimate == null) return "No actual has come yet that judges both.";
  const sign = (share: number) => `${share > 0 ? "+" : ""}${formatPercent(share)}`;
  const bounds = low == null || high == null ? "not bounded yet" : `${sign(low)} to ${sign(high)}`;
  return `Its loss is ${sign(estimate)} (${bounds}) on ${formatCount(pairs)} pairs: ${state}.`;
}
