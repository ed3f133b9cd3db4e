import { useMutation } from "@tanstack/react-query";
import { fetchFile } from "../../api/client";
import type { Job } from "../../api/types";
import { Button, Card } from "../../components/basics";
import { ProblemView } from "../../components/feedback";
import { downloadBlob } from "../../lib/csv";

const FORMATS = [
  { extension: "csv", label: "CSV" },
  { extension: "parquet", label: "Parquet" },
  { extension: "arrows", label: "Arrow" },
] as const;

/** Tell whether a job's forecasts can be fetched. */
export const hasForecasts = (job: Job) =>
  job.state === "SUCCEEDED" && (job.kind === "forecast" || job.kind === "backtest");

/** Every forecast of a job as a file; a backtest's beside the actuals. */
export function ForecastsCard({ job }: { job: Job }) {
  const download = useMutation({
    mutationFn: async (extension: string) => {
      const path = `/v1/jobs/${encodeURIComponent(job.id)}/forecasts`;
      downloadBlob(`forecasts-${job.id}.${extension}`, await fetchFile(path, extension));
    },
  });
  return (
    <Card title="Forecasts">
      <p>
        {job.kind === "backtest"
          ? "Every forecast of every model and window beside the value that followed, a row per series and step."
          : "The forecast of every series, a row per step; refused series are there with their reason."}
      </p>
      <p className="actions">
        {FORMATS.map(({ extension, label }) => (
          <Button
            key={extension}
            icon="download"
            disabled={download.isPending}
            onClick={() => download.mutate(extension)}
          >
            {label}
          </Button>
        ))}
      </p>
      {download.error && <ProblemView error={download.error} />}
    </Card>
  );
}
