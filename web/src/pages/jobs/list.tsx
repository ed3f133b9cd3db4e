import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useSearchParams } from "react-router";
import { isFinal, jobPages } from "../../api/queries";
import type { Job } from "../../api/types";
import { useMay } from "../../auth/use-session";
import { ButtonLink, Page } from "../../components/basics";
import { Empty } from "../../components/feedback";
import { ListCard } from "../../components/list";
import { Segments } from "../../components/segments";
import { useNow } from "../../components/use-now";
import { formatAge, formatSeconds } from "../../lib/time";
import { ProgressBar, STATES, StateBadge, stateName, subjectOf } from "./state";

const HEADS = ["Job", "State", "Progress", "Asked", { name: "Took", num: true }];

export function Component() {
  const [params, setParams] = useSearchParams();
  const state = STATES.find((s) => s === params.get("state"));
  const pages = useInfiniteQuery(jobPages({ state }));
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
          <Segments
            legend="State"
            name="state"
            value={state ?? ""}
            options={[["", "All"], ...STATES.map((s) => [s, stateName(s)] as const)]}
            onChange={(s) => setParams(s ? { state: s } : {}, { replace: true })}
          />
        }
        query={pages}
        items={pages.data?.pages.flatMap((page) => page.items)}
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
        {(job) => <JobRow key={job.id} job={job} now={now} />}
      </ListCard>
    </Page>
  );
}

function JobRow({ job, now }: { job: Job; now: number }) {
  const subject = subjectOf(job);
  return (
    <tr>
      <th scope="row">
        <span className="kind">{job.kind}</span>
        <Link to={`/jobs/${job.id}`}>{subject}</Link>
      </th>
      <td>
        <StateBadge state={job.state} />
      </td>
      <td className="progress-cell">
        <ProgressBar job={job} label={`Progress of ${subject}`} />
        <small className="muted">{isFinal(job.state) ? "" : job.message}</small>
      </td>
      <td title={job.created_at}>
        {formatAge(job.created_at, now)} <span className="muted">by {job.created_by}</span>
      </td>
      <td className="num">{elapsed(job, now)}</td>
    </tr>
  );
}

function elapsed(job: Job, now: number): string {
  if (!job.started_at) return "–";
  return formatSeconds(((job.ended_at ? Date.parse(job.ended_at) : now) - Date.parse(job.started_at)) / 1000);
}
