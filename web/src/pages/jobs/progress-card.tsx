import { isFinal } from "../../api/queries";
import type { Job } from "../../api/types";
import { Badge, Card } from "../../components/basics";
import { Notice } from "../../components/feedback";
import { Icon } from "../../components/icons";
import { useNow } from "../../components/use-now";
import { formatSeconds } from "../../lib/time";
import type { JobProgress, ProgressStep } from "./progress";
import { ProgressBar, StateBadge } from "./state";

interface ProgressCardProps {
  job: Job;
  progress: JobProgress;
  /** The event stream is connected. */
  live: boolean;
}

export function ProgressCard({ job, progress, live }: ProgressCardProps) {
  const busy = !isFinal(job.state);
  const now = useNow(busy);
  // The message after the last step of a job that ended well is its closing one, not a step.
  const steps =
    job.state === "SUCCEEDED" ? progress.steps.filter((step) => step.seconds !== null) : progress.steps;
  return (
    <Card
      title="Progress"
      actions={
        <>
          {busy && <Badge tone={live ? "good" : "warn"}>{live ? "Live" : "Reconnecting…"}</Badge>}
          <StateBadge state={job.state} />
        </>
      }
    >
      <div className="stack">
        <div className="progress-line">
          <ProgressBar job={job} label="Progress of the job" />
          <b>{Math.round(job.progress * 100)} %</b>
        </div>
        <Message job={job} note={busy ? progress.note : ""} />
        <ol className="steps" aria-label="Steps">
          {steps.map((step) => (
            <StepItem key={`${step.at} ${step.name}`} step={step} busy={busy} now={now} />
          ))}
        </ol>
      </div>
    </Card>
  );
}

function Message({ job, note }: { job: Job; note: string }) {
  if (job.state === "FAILED") {
    return (
      <Notice tone="bad" title="The job failed">
        <p>{job.error?.cause ?? job.message}</p>
        {job.error && <p>{job.error.remedy}</p>}
        {job.error?.details && (
          <details>
            <summary>Details</summary>
            {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable region must be reachable by keyboard */}
            <pre className="log" tabIndex={0}>
              {job.error.details}
            </pre>
          </details>
        )}
      </Notice>
    );
  }
  const waiting = isFinal(job.state) ? "" : "Waiting for a free place.";
  return (
    <p className="muted" role="status">
      {note || job.message || waiting}
    </p>
  );
}

interface StepItemProps {
  step: ProgressStep;
  busy: boolean;
  now: number;
}

/** Step with its time so far; one that was open when the job ended was cut off. */
function StepItem({ step, busy, now }: StepItemProps) {
  if (step.seconds !== null) {
    return <StepLine name={step.name} look="done" icon="check" time={formatSeconds(step.seconds)} />;
  }
  if (!busy) return <StepLine name={step.name} look="cut" icon="cross" time="" />;
  const elapsed = Math.max(0, (now - Date.parse(step.at)) / 1000);
  return <StepLine name={step.name} look="open" icon="right" time={formatSeconds(elapsed)} />;
}

interface StepLineProps {
  name: string;
  look: "done" | "cut" | "open";
  icon: "check" | "cross" | "right";
  time: string;
}

function StepLine({ name, look, icon, time }: StepLineProps) {
  return (
    <li className={look}>
      <span className="bullet">
        <Icon name={icon} />
      </span>
      <span>{name}</span>
      <span className="muted">{time}</span>
    </li>
  );
}
