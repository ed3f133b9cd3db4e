import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { isFinal, jobLogs } from "../../api/queries";
import type { Job } from "../../api/types";
import { LoadingRows } from "../../components/basics";
import { ProblemView } from "../../components/feedback";

const MAX_LINES = 400;
/** Escape sequences by which a terminal colours text. */
const COLOUR = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g");

/** End of a job's log, read once it is opened. */
export function LogCard({ job }: { job: Job }) {
  const [open, setOpen] = useState(false);
  const logs = useQuery({ ...jobLogs(job.id, !isFinal(job.state)), enabled: open });
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
          {lastLines(logs.data.text) || "Nothing was written yet."}
        </pre>
      )}
    </details>
  );
}

const lastLines = (text: string) => text.replace(COLOUR, "").split("\n").slice(-MAX_LINES).join("\n").trim();
