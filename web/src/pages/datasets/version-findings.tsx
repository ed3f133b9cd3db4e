import { useQuery } from "@tanstack/react-query";
import { asProblem } from "../../api/problem";
import { versionReport } from "../../api/queries";
import type { DatasetVersion } from "../../api/types";
import { Badge, LoadingRows } from "../../components/basics";
import { ProblemView } from "../../components/feedback";
import { plural } from "../../lib/format";
import { Findings } from "./findings";
import { pinnedIn, useAddress } from "./use-address";

/** Findings of the file behind the version on display: its own, or that of the last upload before it. */
export function VersionFindings({ name, versions }: { name: string; versions: DatasetVersion[] }) {
  const { params } = useAddress();
  const shown = pinnedIn(params) ?? versions[0]?.number ?? 0;
  const uploaded = versions.find((v) => v.action === "upload" && v.number <= shown);
  return uploaded ? <Report key={uploaded.number} name={name} number={uploaded.number} /> : null;
}

function Report({ name, number }: { name: string; number: number }) {
  const { data: report, error } = useQuery(versionReport(name, number));
  // A version of a bulk import, or one older than the reports, has none.
  if (error && asProblem(error).status === 404) return null;
  const warnings = report?.findings.filter((f) => f.severity !== "info").length ?? 0;
  return (
    <details className="card disclosure version-findings">
      <summary>
        Findings of the upload of v{number}{" "}
        {report && (
          <Badge tone={warnings ? "warn" : "good"}>
            {report.findings.length ? plural(report.findings.length, "finding") : "none"}
          </Badge>
        )}
        <small>{report?.file}</small>
      </summary>
      {error && <ProblemView error={error} />}
      {!error && (report ? <Findings findings={report.findings} /> : <LoadingRows />)}
    </details>
  );
}
