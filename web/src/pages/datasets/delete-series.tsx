import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { useMay } from "../../auth/use-session";
import { Button } from "../../components/basics";
import { Dialog, Notice, ProblemView } from "../../components/feedback";

interface SeriesProps {
  dataset: string;
  series: string;
}

const pathOf = ({ dataset, series }: SeriesProps) => ({
  params: { path: { name: dataset, unique_id: series } },
});

/** Button that deletes a series after asking; it can be restored until it is purged. */
export function DeleteSeries(props: SeriesProps) {
  const may = useMay("ml_engineer");
  const client = useQueryClient();
  const [confirming, setConfirming] = useState(false);
  const remove = useMutation({
    mutationFn: () => unwrap(api.DELETE("/v1/datasets/{name}/series/{unique_id}", pathOf(props))),
    onSuccess: () => {
      setConfirming(false);
      return client.invalidateQueries({ queryKey: ["datasets"] });
    },
  });
  if (!may) return null;
  return (
    <>
      <Button small variant="ghost" onClick={() => setConfirming(true)}>
        Delete series
      </Button>
      <Dialog title={`Delete ${props.series}?`} open={confirming} onClose={() => setConfirming(false)}>
        <p>
          From now on {props.series} is in no new version, forecast or training. Reads as of earlier still see
          it, and it can be restored, until a compact job purges it for good.
        </p>
        {remove.error && <ProblemView error={remove.error} />}
        <footer>
          <Button onClick={() => setConfirming(false)}>Keep it</Button>
          <Button variant="danger" disabled={remove.isPending} onClick={() => remove.mutate()}>
            Delete the series
          </Button>
        </footer>
      </Dialog>
    </>
  );
}

/** Notice that the series is deleted now, with a button that restores it. */
export function Deleted(props: SeriesProps) {
  const may = useMay("ml_engineer");
  const client = useQueryClient();
  const restore = useMutation({
    mutationFn: () => unwrap(api.POST("/v1/datasets/{name}/series/{unique_id}/restore", pathOf(props))),
    onSuccess: () => client.invalidateQueries({ queryKey: ["datasets"] }),
  });
  return (
    <div className="card-body">
      <Notice
        tone="warn"
        title={`${props.series} is deleted now`}
        action={
          may && (
            <Button small disabled={restore.isPending} onClick={() => restore.mutate()}>
              Restore it
            </Button>
          )
        }
      >
        <p>What was known of it before the deletion is still read as of then.</p>
      </Notice>
      {restore.error && <ProblemView error={restore.error} />}
    </div>
  );
}
