import { skipToken, useQuery, useQueryClient } from "@tanstack/react-query";
import type { CheckReport } from "../../api/types";
import { Badge } from "../../components/basics";
import { plural } from "../../lib/format";
import { Findings } from "./findings";

const keyOf = (dataset: string) => ["last-report", dataset];

/** Keeps what an upload found, so that the dataset's page can show it as long as this page lives. */
export function useKeepReport() {
  const client = useQueryClient();
  return (dataset: string, report: CheckReport) => client.setQueryData(keyOf(dataset), report);
}

/** The findings of what was uploaded from here last. */
export function LastFindings({ name }: { name: string }) {
  const { data: report } = useQuery<CheckReport>({
    queryKey: keyOf(name),
    queryFn: skipToken,
    gcTime: Number.POSITIVE_INFINITY,
    staleTime: Number.POSITIVE_INFINITY,
  });
  if (!report) return null;
  const warnings = report.findings.filter((f) => f.severity !== "info").length;
  return (
    <details className="card disclosure last-findings" open={warnings > 0}>
      <summary>
        Findings of the last upload{" "}
        <Badge tone={warnings ? "warn" : "good"}>
          {report.findings.length ? plural(report.findings.length, "finding") : "none"}
        </Badge>
        <small>{report.file}</small>
      </summary>
      <Findings findings={report.findings} />
    </details>
  );
}
