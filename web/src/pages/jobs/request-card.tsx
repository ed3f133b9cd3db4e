import { Link } from "react-router";
import type { Job } from "../../api/types";
import { Card, CopyText, Fact } from "../../components/basics";
import { formatDateTime, formatSeconds } from "../../lib/time";

/** Specification of a job, who requested it, and how long it took. */
export function RequestCard({ job }: { job: Job }) {
  const { spec } = job;
  return (
    <Card title="The request">
      <dl className="facts">
        <Fact name="Dataset">
          <Link to={`/datasets/${spec.dataset}`}>{spec.dataset}</Link>{" "}
          {spec.version ? `v${spec.version}` : "(latest)"}
        </Fact>
        {"model" in spec && (
          <Fact name="Model">
            <Link to={`/models/${spec.model}`}>{spec.model}</Link>
          </Fact>
        )}
        <Fact name="As of">{spec.as_of ? formatDateTime(spec.as_of) : "now"}</Fact>
        {"h" in spec && <Fact name="Horizon">{spec.h ?? "the model's own"}</Fact>}
        {(spec.kind === "train" || spec.kind === "backtest") && (
          <>
            <Fact name="Families">{spec.families.join(", ")}</Fact>
            <Fact name="Windows">{spec.n_windows ?? "as many as tell enough"}</Fact>
            <Fact name="TFT">
              {spec.tft.steps} steps, hidden size {spec.tft.hidden_size}
            </Fact>
          </>
        )}
        <Fact name="Asked by">{job.created_by}</Fact>
        <Fact name="Asked at">{formatDateTime(job.created_at)}</Fact>
        {job.started_at && job.ended_at && (
          <Fact name="Took">
            {formatSeconds((Date.parse(job.ended_at) - Date.parse(job.started_at)) / 1000)}
          </Fact>
        )}
        <Fact name="Id">
          <CopyText text={job.id} label="Copy the job's id" />
        </Fact>
      </dl>
    </Card>
  );
}
