import type { Job, JobState } from "../../api/types";
import type { Tone } from "../../components/basics";

const LOOK: Record<JobState, { tone?: Tone; name: string }> = {
  PENDING: { name: "Waiting" },
  RUNNING: { tone: "accent", name: "Running" },
  STOPPED: { tone: "warn", name: "Stopped" },
  SUCCEEDED: { tone: "good", name: "Succeeded" },
  FAILED: { tone: "bad", name: "Failed" },
};

export const STATES = Object.keys(LOOK) as JobState[];
export const stateName = (state: JobState) => LOOK[state].name;

export function StateBadge({ state }: { state: JobState }) {
  const { tone, name } = LOOK[state];
  return (
    <span className={["badge", tone].filter(Boolean).join(" ")}>
      <span className={state === "RUNNING" ? "dot busy" : "dot"} />
      {name}
    </span>
  );
}

export function ProgressBar({ job, label }: { job: Pick<Job, "progress" | "state">; label: string }) {
  const tone = job.state === "SUCCEEDED" ? "good" : job.state === "FAILED" ? "bad" : "";
  const percent = Math.round(job.progress * 100);
  return (
    <div
      className={`progress ${tone}`}
      role="progressbar"
      aria-label={label}
      aria-valuenow={percent}
      aria-valuemin={0}
      aria-valuemax={100}
    >
      <span style={{ width: `${percent}%` }} />
    </div>
  );
}

/** Name the subject of a job: model and dataset. */
export function subjectOf(job: Job): string {
  const { spec } = job;
  return "model" in spec ? `${spec.model} on ${spec.dataset}` : spec.dataset;
}
