import { type ReactNode, useEffect, useRef } from "react";
import { asProblem } from "../api/problem";
import { Button } from "./button";
import { CopyButton } from "./copy";
import { EmptyArt, Icon, type IconName } from "./icons";

/** Shell command with a button that copies it. */
export function Command({ children }: { children: string }) {
  return (
    <span className="command">
      <code>{children}</code>
      <CopyButton text={children} label="Copy the command" />
    </span>
  );
}

interface EmptyProps {
  title: string;
  children: ReactNode;
  command?: string;
  action?: ReactNode;
}

export function Empty({ title, children, command, action }: EmptyProps) {
  return (
    <div className="empty">
      <EmptyArt />
      <h2>{title}</h2>
      <p>{children}</p>
      {command && <Command>{command}</Command>}
      {action}
    </div>
  );
}

interface NoticeProps {
  tone?: "good" | "warn" | "bad";
  title: ReactNode;
  children?: ReactNode;
  action?: ReactNode;
}

const NOTICE_ICON: Record<string, IconName> = { good: "check", warn: "alert", bad: "alert" };

export function Notice({ tone, title, children, action }: NoticeProps) {
  return (
    <div className={`notice ${tone ?? ""}`} role={tone === "bad" ? "alert" : "status"}>
      <Icon name={NOTICE_ICON[tone ?? ""] ?? "info"} />
      <div>
        <p className="title">{title}</p>
        {children}
      </div>
      {action}
    </div>
  );
}

/** Error as the server reports it: title, detail, fields, and the request's id. */
export function ProblemView({ error, retry }: { error: unknown; retry?: () => void }) {
  const problem = asProblem(error);
  return (
    <Notice
      tone="bad"
      title={problem.title}
      action={
        retry && (
          <Button small onClick={retry}>
            Try again
          </Button>
        )
      }
    >
      <p>{problem.message}</p>
      {problem.errors.length > 0 && (
        <ul>
          {problem.errors.map((e) => (
            <li key={`${e.pointer} ${e.message}`}>
              {e.pointer && <code>{e.pointer}</code>} {e.message}
            </li>
          ))}
        </ul>
      )}
      {problem.requestId && (
        <p className="request">
          Request <code>{problem.requestId}</code>
        </p>
      )}
    </Notice>
  );
}

interface DialogProps {
  title: string;
  open: boolean;
  onClose: () => void;
  children: ReactNode;
}

/** Modal of the browser: it traps focus, closes on Escape and gives focus back. */
export function Dialog({ title, open, onClose, children }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current;
    if (open && !dialog?.open) dialog?.showModal();
    if (!open && dialog?.open) dialog.close();
  }, [open]);
  return (
    <dialog ref={ref} className="dialog" aria-label={title} onClose={onClose}>
      {open && (
        <div className="inner">
          <h2>{title}</h2>
          {children}
        </div>
      )}
    </dialog>
  );
}
