import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { Button, Field } from "../../components/basics";
import { Dialog, ProblemView } from "../../components/feedback";
import { formatValue } from "../../lib/format";
import type { Row } from "../../lib/series-diff";
import { parseField, toIso } from "../../lib/time";
import { timeOf } from "./as-of-table";

interface CorrectDialogProps {
  dataset: string;
  series: string;
  column: string;
  stepMs: number;
  row: Row | null;
  onClose: () => void;
  /** Called with the number of the version that holds the correction. */
  onDone: (version: number) => void;
}

/** Puts another value beside the one that is stored; what was known before stays as it was known. */
export function CorrectDialog(props: CorrectDialogProps) {
  const { row, onClose } = props;
  return (
    <Dialog title="Correct a value" open={row !== null} onClose={onClose}>
      {row && <CorrectForm {...props} row={row} />}
    </Dialog>
  );
}

function CorrectForm({
  dataset,
  series,
  column,
  stepMs,
  row,
  onClose,
  onDone,
}: CorrectDialogProps & { row: Row }) {
  const client = useQueryClient();
  const [text, setText] = useState(row.is === null || row.is === undefined ? "" : String(row.is));
  const [since, setSince] = useState("");
  const value = text.trim() === "" ? null : Number(text);
  const send = useMutation({
    mutationFn: () => {
      const observed = { unique_id: series, ds: [toIso(row.time)], ...valuesOf(column, value) };
      const knownAt = since ? parseField(since) : null;
      const body = { series: [{ ...observed, ...(knownAt && { known_at: knownAt }) }] };
      return unwrap(
        api.POST("/v1/datasets/{name}/observations", { params: { path: { name: dataset } }, body }),
      );
    },
    onSuccess: async (result) => {
      await client.invalidateQueries({ queryKey: ["datasets"] });
      onDone(result.version.number);
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    send.mutate();
  };
  return (
    <form className="plain" onSubmit={submit}>
      <p>
        {column === "y" ? series : `${column} of ${series}`} at <b>{timeOf(row.time, stepMs)}</b> is known as{" "}
        <b>{formatValue(row.is)}</b>. What was known before keeps being read as it was known then.
      </p>
      <Field label="Value" hint="Empty says that it is missing.">
        {(id, d) => (
          <input
            id={id}
            aria-describedby={d}
            className="input"
            type="number"
            step="any"
            value={text}
            onChange={(e) => setText(e.target.value)}
          />
        )}
      </Field>
      <Field label="Known since (UTC)" hint="Empty says: from now on.">
        {(id, d) => (
          <input
            id={id}
            aria-describedby={d}
            className="input"
            type="datetime-local"
            value={since}
            onChange={(e) => setSince(e.target.value)}
          />
        )}
      </Field>
      {send.error && <ProblemView error={send.error} />}
      <footer>
        <Button onClick={onClose}>Cancel</Button>
        <Button type="submit" variant="primary" disabled={send.isPending}>
          {send.isPending ? "Storing…" : "Store the correction"}
        </Button>
      </footer>
    </form>
  );
}

const valuesOf = (column: string, value: number | null) =>
  column === "y" ? { y: [value] } : { hist_exog: { [column]: [value] } };
