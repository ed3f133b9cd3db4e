import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { Button } from "../../components/basics";
import { Dialog, ProblemView } from "../../components/feedback";
import { NumberField, TimeField } from "../../components/fields";
import { formatValue } from "../../lib/format";
import type { DiffRow } from "../../lib/series-diff";
import { parseField, toIso } from "../../lib/time";
import { rowTime } from "./diff";

interface CorrectDialogProps {
  dataset: string;
  series: string;
  column: string;
  stepMs: number;
  row: DiffRow | null;
  onClose: () => void;
  /** Called with the number of the version that holds the correction. */
  onStored: (version: number) => void;
}

/** Dialog that stores another value for a row; what was known before stays as it was known. */
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
  onStored,
}: CorrectDialogProps & { row: DiffRow }) {
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
      onStored(result.version.number);
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    send.mutate();
  };
  return (
    <form className="plain" onSubmit={submit}>
      <p>
        {column === "y" ? series : `${column} of ${series}`} at <b>{rowTime(row.time, stepMs)}</b> is known as{" "}
        <b>{formatValue(row.is)}</b>. What was known before keeps being read as it was known then.
      </p>
      <NumberField
        label="Value"
        hint="Empty says that it is missing."
        step="any"
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      <TimeField
        label="Known since (UTC)"
        hint="Empty says: from now on."
        value={since}
        onChange={(event) => setSince(event.target.value)}
      />
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
