import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { Button, CopyText } from "../../components/basics";
import { Dialog, Notice, ProblemView } from "../../components/feedback";
import { plural } from "../../lib/format";

/** Walks the chain of hashes and says whether anything was altered. */
export function ChainCheck() {
  const [open, setOpen] = useState(false);
  const walk = useMutation({ mutationFn: () => unwrap(api.GET("/v1/audit-events/verdict")) });
  const start = () => {
    setOpen(true);
    walk.mutate();
  };
  const found = walk.data;
  return (
    <>
      <Button icon="check" onClick={start}>
        Check the chain
      </Button>
      <Dialog title="Is the trail intact?" open={open} onClose={() => setOpen(false)}>
        {walk.isPending && <p role="status">Walking along every event…</p>}
        {walk.error && <ProblemView error={walk.error} />}
        {found && (
          <Notice
            tone={found.intact ? "good" : "bad"}
            title={found.intact ? "Intact" : `Altered at event ${found.first_altered}`}
          >
            <p>
              {found.intact
                ? `All ${plural(found.events, "event")} fit together.`
                : found.reason || "This event does not fit the one before it."}
            </p>
          </Notice>
        )}
        {found?.intact && (
          <p>
            The last hash is{" "}
            <CopyText text={found.head} short={found.head.slice(0, 16)} label="Copy the hash" />. Kept
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
