import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { Link, useParams } from "react-router";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { isFinal, jobLogs, job as jobQuery } from "../../api/queries";
import type { Job } from "../../api/types";
import { useMay } from "../../auth/use-session";
import { Badge, Button, ButtonLink, Card, CopyText, LoadingRows, Page } from "../../components/basics";
import { Dialog, Notice, ProblemView } from "../../components/feedback";
import { Icon } from "../../components/icons";
import { useNow } from "../../components/use-now";
import { formatMoment, formatSeconds } from "../../lib/time";
import type { Story } from "./progress";
import { Figures, Result } from "./result";
import { ProgressBar, StateBadge, subjectOf } from "./state";
import { useStory } from "./use-progress";

export function Component() {
  const id = useParams().id ?? "";
  return <JobPage key={id} id={id} />;
}

function JobPage({ id }: { id: string }) {
  const found = useQuery(jobQuery(id));
  const { story, line, error } = useStory(id);
  const job = found.data;
  const title = job ? `${job.kind[0]?.toUpperCase()}${job.kind.slice(1)} ${subjectOf(job)}` : "Job";
  const done = job?.state === "SUCCEEDED";
  return (
    <Page
      title={title}
      back={{ to: "/jobs", label: "Jobs" }}
      actions={
        job && (
          <>
            {!isFinal(job.state) && <StopButton job={job} />}
            {done && job.kind === "train" && (
              <ButtonLink to={`/experiments/${id}`} variant="primary" icon="star">
                Leaderboard
              </ButtonLink>
            )}
          </>
        )
      }
    >
      {(found.error ?? error) && <ProblemView error={found.error ?? error} retry={() => found.refetch()} />}
      {found.isPending && (
        <Card flush>
          <LoadingRows />
        </Card>
      )}
      {job && (
        <div className="split">
          <div className="stack">
            <Progress job={job} story={story} live={line === "live"} />
            <Figures title="Measured" rows={story.metrics} />
            {job.result && <Result job={job} result={job.result} />}
            <Logs job={job} />
          </div>
          <Facts job={job} />
        </div>
      )}
    </Page>
  );
}

function Progress({ job, story, live }: { job: Job; story: Story; live: boolean }) {
  const busy = !isFinal(job.state);
  const now = useNow(busy);
  // What was said after the last step of a job that ended well is its closing word, not a step.
  const steps = job.state === "SUCCEEDED" ? story.steps.filter((step) => step.seconds !== null) : story.steps;
  const since = (at: string) => formatSeconds(Math.max(0, (now - Date.parse(at)) / 1000));
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
        {job.state === "FAILED" ? (
          <Notice tone="bad" title="The job failed">
            <p>{job.message}</p>
          </Notice>
        ) : (
          <p className="muted" role="status">
            {busy ? story.progressNote || job.message || "Waiting for a free place." : job.message}
          </p>
        )}
        <ol className="steps" aria-label="Steps">
          {steps.map((step) => {
            const open = step.seconds === null;
            return (
              <li key={`${step.at} ${step.name}`} className={open ? (busy ? "open" : "cut") : "done"}>
                <span className="bullet">
                  <Icon name={open ? (busy ? "right" : "cross") : "check"} />
                </span>
                <span>{step.name}</span>
                <span className="muted">
                  {step.seconds !== null ? formatSeconds(step.seconds) : busy ? since(step.at) : ""}
                </span>
              </li>
            );
          })}
        </ol>
      </div>
    </Card>
  );
}

function Facts({ job }: { job: Job }) {
  const { spec } = job;
  const took =
    job.started_at && job.ended_at ? (Date.parse(job.ended_at) - Date.parse(job.started_at)) / 1000 : null;
  return (
    <Card title="The request">
      <dl className="facts">
        <dt>Dataset</dt>
        <dd>
          <Link to={`/datasets/${spec.dataset}`}>{spec.dataset}</Link>{" "}
          {spec.version ? `v${spec.version}` : "(latest)"}
        </dd>
        {"model" in spec && (
          <>
            <dt>Model</dt>
            <dd>
              <Link to={`/models/${spec.model}`}>{spec.model}</Link>
            </dd>
          </>
        )}
        <dt>As of</dt>
        <dd>{spec.as_of ? formatMoment(spec.as_of) : "now"}</dd>
        {"h" in spec && (
          <>
            <dt>Horizon</dt>
            <dd>{spec.h ?? "the model's own"}</dd>
          </>
        )}
        {(spec.kind === "train" || spec.kind === "backtest") && (
          <>
            <dt>Families</dt>
            <dd>{spec.families.join(", ")}</dd>
            <dt>Windows</dt>
            <dd>{spec.n_windows ?? "as many as tell enough"}</dd>
            <dt>TFT</dt>
            <dd>
              {spec.tft.steps} steps, hidden size {spec.tft.hidden_size}
            </dd>
          </>
        )}
        <dt>Asked by</dt>
        <dd>{job.created_by}</dd>
        <dt>Asked at</dt>
        <dd>{formatMoment(job.created_at)}</dd>
        {took !== null && (
          <>
            <dt>Took</dt>
            <dd>{formatSeconds(took)}</dd>
          </>
        )}
        <dt>Id</dt>
        <dd>
          <CopyText text={job.id} label="Copy the job's id" />
        </dd>
      </dl>
    </Card>
  );
}

function Logs({ job }: { job: Job }) {
  const [open, setOpen] = useState(false);
  const busy = !isFinal(job.state);
  const logs = useQuery({ ...jobLogs(job.id, busy), enabled: open });
  const box = useRef<HTMLPreElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: new text is what makes it scroll
  useEffect(() => {
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [logs.data?.text]);
  return (
    <details className="card disclosure" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Log</summary>
      {logs.error && <ProblemView error={logs.error} />}
      {logs.isPending && open && <LoadingRows rows={3} />}
      {logs.data && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable region must be reachable by keyboard
        <pre ref={box} className="log" tabIndex={0}>
          {tail(logs.data.text) || "Nothing was written yet."}
        </pre>
      )}
    </details>
  );
}

/** The last 400 lines, without the terminal's colour codes. */
const COLOUR = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g");
const tail = (text: string) => text.replace(COLOUR, "").split("\n").slice(-400).join("\n").trim();

function StopButton({ job }: { job: Job }) {
  const may = useMay("ml_engineer");
  const client = useQueryClient();
  const [asking, setAsking] = useState(false);
  const stop = useMutation({
    mutationFn: () => unwrap(api.POST("/v1/jobs/{job_id}/stop", { params: { path: { job_id: job.id } } })),
    onSuccess: (answer) => {
      client.setQueryData(jobQuery(job.id).queryKey, answer);
      setAsking(false);
    },
  });
  if (!may) return null;
  return (
    <>
      <Button variant="danger" icon="stop" onClick={() => setAsking(true)}>
        Stop
      </Button>
      <Dialog title="Stop this job?" open={asking} onClose={() => setAsking(false)}>
        <p>What it has done so far is lost. It can be submitted again.</p>
        {stop.error && <ProblemView error={stop.error} />}
        <footer>
          <Button onClick={() => setAsking(false)}>Let it run</Button>
          <Button variant="danger" disabled={stop.isPending} onClick={() => stop.mutate()}>
            Stop the job
          </Button>
        </footer>
      </Dialog>
    </>
  );
}
