import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useParams } from "react-router";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { isFinal, job as jobQuery } from "../../api/queries";
import type { Job } from "../../api/types";
import { useMay } from "../../auth/use-session";
import { Button, ButtonLink, Card, LoadingRows, Page } from "../../components/basics";
import { Delete } from "../../components/delete";
import { Dialog, ProblemView } from "../../components/feedback";
import { ForecastsCard, hasForecasts } from "./forecasts-card";
import { LogCard } from "./log-card";
import { ProgressCard } from "./progress-card";
import { RequestCard } from "./request-card";
import { Figures, Result } from "./result";
import { subjectOf } from "./state";
import { useProgress } from "./use-progress";

export function Component() {
  const id = useParams().id ?? "";
  return <JobPage key={id} id={id} />;
}

function JobPage({ id }: { id: string }) {
  const query = useQuery(jobQuery(id));
  const { progress, connection, error } = useProgress(id);
  const job = query.data;
  const problem = query.error ?? error;
  return (
    <Page
      title={job ? `${job.kind[0]?.toUpperCase()}${job.kind.slice(1)} ${subjectOf(job)}` : "Job"}
      back={{ to: "/jobs", label: "Jobs" }}
      actions={job && <JobActions job={job} />}
    >
      {problem && <ProblemView error={problem} retry={() => query.refetch()} />}
      {query.isPending && (
        <Card flush>
          <LoadingRows />
        </Card>
      )}
      {job && (
        <div className="split">
          <div className="stack">
            <ProgressCard job={job} progress={progress} live={connection === "live"} />
            <Figures title="Measured" rows={progress.metrics} />
            {job.result && <Result job={job} result={job.result} />}
            {hasForecasts(job) && <ForecastsCard job={job} />}
            <LogCard job={job} />
          </div>
          <RequestCard job={job} />
        </div>
      )}
    </Page>
  );
}

function JobActions({ job }: { job: Job }) {
  const trained = job.kind === "train" && job.state === "SUCCEEDED";
  return (
    <>
      {!isFinal(job.state) && <StopButton job={job} />}
      {trained && (
        <ButtonLink to={`/experiments/${job.id}`} variant="primary" icon="star">
          Leaderboard
        </ButtonLink>
      )}
      {isFinal(job.state) && (
        <Delete
          title={`the ${job.kind} job ${job.id}`}
          minimum="ml_engineer"
          run={() => api.DELETE("/v1/jobs/{job_id}", { params: { path: { job_id: job.id } } })}
          listed={["jobs"]}
          to="/jobs"
        >
          The events, the result and the files of this job go, for good. What it published stays.
        </Delete>
      )}
    </>
  );
}

function StopButton({ job }: { job: Job }) {
  const may = useMay("ml_engineer");
  const client = useQueryClient();
  const [confirming, setConfirming] = useState(false);
  const stop = useMutation({
    mutationFn: () => unwrap(api.POST("/v1/jobs/{job_id}/stop", { params: { path: { job_id: job.id } } })),
    onSuccess: (stopped) => {
      client.setQueryData(jobQuery(job.id).queryKey, stopped);
      setConfirming(false);
    },
  });
  if (!may) return null;
  return (
    <>
      <Button variant="danger" icon="stop" onClick={() => setConfirming(true)}>
        Stop
      </Button>
      <Dialog title="Stop this job?" open={confirming} onClose={() => setConfirming(false)}>
        <p>What it has done so far is lost. It can be submitted again.</p>
        {stop.error && <ProblemView error={stop.error} />}
        <footer>
          <Button onClick={() => setConfirming(false)}>Let it run</Button>
          <Button variant="danger" disabled={stop.isPending} onClick={() => stop.mutate()}>
            Stop the job
          </Button>
        </footer>
      </Dialog>
    </>
  );
}
