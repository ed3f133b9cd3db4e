import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useSearchParams } from "react-router";
import { isFinal, jobPages } from "../../api/queries";
import type { Job } from "../../api/types";
import { useMay } from "../../auth/use-session";
import { ButtonLink, Page } from "../../components/basics";
import { Empty } from "../../components/feedback";
import { ListCard } from "../../components/list";
import { useNow } from "../../components/use-now";
import { formatAge, formatSeconds } from "../../lib/time";
import { ProgressBar, STATES, StateBadge, stateName, subjectOf } from "./state";

const HEADS = ["Job", "State", "Progress", "Asked", { name: "Took", num: true }];

export function Component() {
  const [params, setParams] = useSearchParams();
  const state = STATES.find((s) => s === params.get("state"));
  const pages = useInfiniteQuery(jobPages({ state }));
  const jobs = pages.data?.pages.flatMap((page) => page.items);
  const now = useNow(true, 5000);
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
      <ListCard
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
        of={pages}
        items={jobs}
        caption="Jobs, newest first"
        heads={HEADS}
        more="Show older jobs"
        empty={
          <Empty
            title={state ? `No job is ${stateName(state).toLowerCase()}` : "No job yet"}
            command="quantis train DATASET MODEL"
          >
            A training job compares every model family on rolling origins and keeps the best.
          </Empty>
        }
      >
        {(job) => (
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
        )}
      </ListCard>
    </Page>
  );
}

function took(job: Job, now: number): string {
  if (!job.started_at) return "–";
  return formatSeconds(((job.ended_at ? Date.parse(job.ended_at) : now) - Date.parse(job.started_at)) / 1000);
}
