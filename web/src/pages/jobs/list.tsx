import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useSearchParams } from "react-router";
import { isFinal, jobPages } from "../../api/queries";
import type { Job } from "../../api/types";
import { useMay } from "../../auth/use-session";
import { Button, ButtonLink, Card, LoadingRows, Page } from "../../components/basics";
import { Empty, ProblemView } from "../../components/feedback";
import { useNow } from "../../components/use-now";
import { formatAge, formatSeconds } from "../../lib/time";
import { ProgressBar, STATES, StateBadge, stateName, subjectOf } from "./state";

export function Component() {
  const [params, setParams] = useSearchParams();
  const state = STATES.find((s) => s === params.get("state"));
  const pages = useInfiniteQuery(jobPages({ state }));
  const jobs = pages.data?.pages.flatMap((page) => page.items) ?? [];
  const may = useMay("ml_engineer");
  return (
    <Page
      title="Jobs"
      intro="Work that runs on Ray: training, search, features and batch forecasts."
      actions={
        may && (
          <ButtonLink to="/jobs/new" variant="primary" icon="plus">
            Train a model
          </ButtonLink>
        )
      }
    >
      {pages.error && <ProblemView error={pages.error} retry={() => pages.refetch()} />}
      <Card
        flush
        actions={
          <fieldset className="segments">
            <legend className="sr-only">State</legend>
            {[undefined, ...STATES].map((s) => (
              <label key={s ?? "all"}>
                <input
                  type="radio"
                  name="state"
                  checked={state === s}
                  onChange={() => setParams(s ? { state: s } : {}, { replace: true })}
                />
                {s ? stateName(s) : "All"}
              </label>
            ))}
          </fieldset>
        }
      >
        {pages.isPending && <LoadingRows />}
        {pages.data && jobs.length === 0 && (
          <Empty
            title={state ? `No job is ${stateName(state).toLowerCase()}` : "No job yet"}
            command="quantis train DATASET MODEL"
          >
            A training job compares every model family on rolling origins and keeps the best.
          </Empty>
        )}
        {jobs.length > 0 && <JobTable jobs={jobs} />}
        {pages.hasNextPage && (
          <div className="card-body">
            <Button disabled={pages.isFetchingNextPage} onClick={() => pages.fetchNextPage()}>
              Show older jobs
            </Button>
          </div>
        )}
      </Card>
    </Page>
  );
}

function JobTable({ jobs }: { jobs: Job[] }) {
  const now = useNow(true, 5000);
  return (
    <div className="scroll">
      <table className="table">
        <caption className="sr-only">Jobs, newest first</caption>
        <thead>
          <tr>
            <th scope="col">Job</th>
            <th scope="col">State</th>
            <th scope="col">Progress</th>
            <th scope="col">Asked</th>
            <th scope="col" className="num">
              Took
            </th>
          </tr>
        </thead>
        <tbody>
          {jobs.map((job) => (
            <tr key={job.id}>
              <th scope="row">
                <span className="kind">{job.kind}</span>
                <Link to={`/jobs/${job.id}`}>{subjectOf(job)}</Link>
              </th>
              <td>
                <StateBadge state={job.state} />
              </td>
              <td className="progress-cell">
                <ProgressBar job={job} label={`Progress of ${subjectOf(job)}`} />
                <small className="muted">{isFinal(job.state) ? "" : job.message}</small>
              </td>
              <td title={job.created_at}>
                {formatAge(job.created_at, now)} <span className="muted">by {job.created_by}</span>
              </td>
              <td className="num">{took(job, now)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function took(job: Job, now: number): string {
  if (!job.started_at) return "–";
  return formatSeconds(((job.ended_at ? Date.parse(job.ended_at) : now) - Date.parse(job.started_at)) / 1000);
}
