import { useMutation } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { Button } from "./basics";
import { Dialog, ProblemView } from "./feedback";

interface ConfirmProps {
  /** On the button in the page; `label` says it in full where many stand below each other. */
  button: string;
  label?: string;
  title: string;
  /** On the button that does it. */
  action: string;
  keep?: string;
  run: () => Promise<unknown>;
  danger?: boolean;
  children: ReactNode;
}

/** A small button that asks before it does something. */
export function Confirm({ button, label, title, action, keep, run, danger, children }: ConfirmProps) {
  const [asking, setAsking] = useState(false);
  const done = useMutation({ mutationFn: run, onSuccess: () => setAsking(false) });
  const close = () => {
    setAsking(false);
    done.reset();
  };
  return (
    <>
      <Button small aria-label={label} onClick={() => setAsking(true)}>
        {button}
      </Button>
      <Dialog title={title} open={asking} onClose={close}>
        <p>{children}</p>
        {done.error && <ProblemView error={done.error} />}
        <footer>
          <Button onClick={close}>{keep ?? "Cancel"}</Button>
          <Button
            variant={danger ? "danger" : "primary"}
            disabled={done.isPending}
            onClick={() => done.mutate()}
          >
            {done.isPending ? "One moment…" : action}
          </Button>
        </footer>
      </Dialog>
    </>
  );
}
