import { useState } from "react";
import type { CheckReport, Finding } from "../../api/types";
import { Badge, type Tone } from "../../components/basics";
import { Notice } from "../../components/feedback";
import { formatCount, plural } from "../../lib/format";

type Severity = Finding["severity"];

const TONES: Record<Severity, Tone | undefined> = { error: "bad", warning: "warn", info: undefined };
const ORDER: Severity[] = ["error", "warning", "info"];

const OUTCOMES: Record<
  CheckReport["outcome"],
  { tone: "good" | "warn" | "bad"; title: string; text: string }
> = {
  accept: { tone: "good", title: "Accepted", text: "Nothing stands in the way of using this file." },
  accept_with_warning: {
    tone: "warn",
    title: "Accepted, with warnings",
    text: "The file can be used. Read the warnings first: they say what will be filled in or ignored.",
  },
  reject: {
    tone: "bad",
    title: "Rejected",
    text: "The file breaks the panel's rules. Nothing is stored; correct the errors below and choose it again.",
  },
};

/** Outcome of a check in one sentence. */
export function Outcome({ report }: { report: CheckReport }) {
  const { tone, title, text } = OUTCOMES[report.outcome];
  return (
    <Notice tone={tone} title={title}>
      <p>{text}</p>
      <p className="hint">
        <b>{report.file}</b>: {plural(report.series, "series", "series")}, {plural(report.rows, "row")}
        {report.freq && (
          <>
            , frequency <code>{report.freq}</code>
          </>
        )}
      </p>
    </Notice>
  );
}

interface Group {
  code: string;
  severity: Severity;
  findings: Finding[];
}

/** Group findings by code, the gravest first. */
export function groupFindings(findings: readonly Finding[]): Group[] {
  const groups = new Map<string, Group>();
  for (const finding of findings) {
    const key = `${finding.severity} ${finding.code}`;
    const group = groups.get(key) ?? { code: finding.code, severity: finding.severity, findings: [] };
    group.findings.push(finding);
    groups.set(key, group);
  }
  return [...groups.values()].sort(
    (a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity) || a.code.localeCompare(b.code),
  );
}

/** Findings of a group that are shown at first. */
const FIRST_FINDINGS = 5;

export function Findings({ findings }: { findings: readonly Finding[] }) {
  const [severity, setSeverity] = useState<Severity | "all">("all");
  const [text, setText] = useState("");
  if (findings.length === 0) return <p className="card-body muted">No findings.</p>;
  const matching = findings.filter(
    (f) =>
      (severity === "all" || f.severity === severity) &&
      [f.code, f.series, f.column, f.message].some((part) =>
        part?.toLowerCase().includes(text.toLowerCase()),
      ),
  );
  const count = (kind: Severity) => findings.filter((f) => f.severity === kind).length;
  return (
    <>
      <div className="filters">
        <fieldset className="segments">
          <legend className="sr-only">Severity</legend>
          {(["all", ...ORDER] as const).map((kind) => (
            <label key={kind}>
              <input
                type="radio"
                name="severity"
                checked={severity === kind}
                onChange={() => setSeverity(kind)}
              />
              {kind === "all" ? "All" : `${kind[0]?.toUpperCase()}${kind.slice(1)}`}{" "}
              <small>{kind === "all" ? findings.length : count(kind)}</small>
            </label>
          ))}
        </fieldset>
        <input
          className="input"
          type="search"
          placeholder="Filter by series, column or words"
          aria-label="Filter findings"
          value={text}
          onChange={(e) => setText(e.target.value)}
        />
      </div>
      <div className="scroll">
        <table className="table dense findings">
          <caption className="sr-only">Findings of the data check</caption>
          <thead>
            <tr>
              <th scope="col">Severity</th>
              <th scope="col">Code</th>
              <th scope="col">Series</th>
              <th scope="col" className="num">
                Row
              </th>
              <th scope="col">Column</th>
              <th scope="col">Message</th>
            </tr>
          </thead>
          {groupFindings(matching).map((group) => (
            <FindingGroup key={group.severity + group.code} group={group} />
          ))}
        </table>
        {matching.length === 0 && <p className="card-body muted">No finding matches the filter.</p>}
      </div>
    </>
  );
}

function FindingGroup({ group }: { group: Group }) {
  const [all, setAll] = useState(false);
  const shown = all ? group.findings : group.findings.slice(0, FIRST_FINDINGS);
  const more = group.findings.length - shown.length;
  return (
    <tbody>
      {shown.map((finding, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: findings have no identity and never move
        <tr key={i}>
          <td>{i === 0 && <Badge tone={TONES[group.severity]}>{group.severity}</Badge>}</td>
          <td>
            <code>{group.code}</code>
          </td>
          <td>{finding.series ?? "–"}</td>
          <td className="num">{finding.row ?? "–"}</td>
          <td>{finding.column ? <code>{finding.column}</code> : "–"}</td>
          <td className="wrap">{finding.message}</td>
        </tr>
      ))}
      {more > 0 && (
        <tr>
          <td colSpan={6}>
            <button type="button" className="button ghost small" onClick={() => setAll(true)}>
              Show {formatCount(more)} more of {group.code}
            </button>
          </td>
        </tr>
      )}
    </tbody>
  );
}
