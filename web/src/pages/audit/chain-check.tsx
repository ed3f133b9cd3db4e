import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { Button, CopyText } from "../../components/basics";
import { Dialog, Notice, ProblemView } from "../../components/feedback";
import { plural } from "../../lib/format";

/** Button that checks the chain of hashes for altered events. */
export function ChainCheck() {
  const [open, setOpen] = useState(false);
  const check = useMutation({ mutationFn: () => unwrap(api.GET("/v1/audit-events/verdict")) });
  const start = () => {
    setOpen(true);
    check.mutate();
  };
  const report = check.data;
  return (
    <>
      <Button icon="check" onClick={start}>
        Check the chain
      </Button>
      <Dialog title="Is the trail intact?" open={open} onClose={() => setOpen(false)}>
        {check.isPending && <p role="status">Walking along every event…</p>}
        {check.error && <ProblemView error={check.error} />}
        {report && (
          <Notice
            tone={report.intact ? "good" : "bad"}
            title={report.intact ? "Intact" : `Altered at event ${report.first_altered}`}
          >
            <p>
              {report.intact
                ? `All ${plural(report.events, "event")} fit together.`
                : report.reason || "This event does not fit the one before it."}
            </p>
          </Notice>
        )}
        {report?.intact && (
          <p>
            The last hash is{" "}
            <CopyText text={report.head} short={report.head.slice(0, 16)} label="Copy the hash" />. Kept
            elsewhere, it also shows whether events were cut off at the end.
          </p>
        )}
        <footer>
          <Button variant="primary" onClick={() => setOpen(false)}>
            Close
          </Button>
        </footer>
      </Dialog>
    </>
  );
}
