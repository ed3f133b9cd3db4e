import { useMutation } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { Button } from "./basics";
import { Dialog, ProblemView } from "./feedback";

interface ConfirmProps {
  /** Text of the button in the page; `label` is its full name where many stand below each other. */
  button: string;
  label?: string;
  title: string;
  /** Text of the button that runs the action. */
  action: string;
  keep?: string;
  run: () => Promise<unknown>;
  danger?: boolean;
  children: ReactNode;
}

/** Small button that asks before it runs an action. */
export function Confirm({ button, label, title, action, keep, run, danger, children }: ConfirmProps) {
  const [confirming, setConfirming] = useState(false);
  const mutation = useMutation({ mutationFn: run, onSuccess: () => setConfirming(false) });
  const close = () => {
    setConfirming(false);
    mutation.reset();
  };
  return (
    <>
      <Button small aria-label={label} onClick={() => setConfirming(true)}>
        {button}
      </Button>
      <Dialog title={title} open={confirming} onClose={close}>
        <p>{children}</p>
        {mutation.error && <ProblemView error={mutation.error} />}
        <footer>
          <Button onClick={close}>{keep ?? "Cancel"}</Button>
          <Button
            variant={danger ? "danger" : "primary"}
            disabled={mutation.isPending}
            onClick={() => mutation.mutate()}
          >
            {mutation.isPending ? "One moment…" : action}
          </Button>
        </footer>
      </Dialog>
    </>
  );
}
