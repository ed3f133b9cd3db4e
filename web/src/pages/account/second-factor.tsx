import { useMutation, useQueryClient } from "@tanstack/react-query";
import type { FormEvent, ReactNode } from "react";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { me } from "../../api/queries";
import { CodeField } from "../../auth/code-field";
import { Button } from "../../components/basics";
import { CopyButton } from "../../components/copy";
import { ProblemView } from "../../components/feedback";

interface DoneProps {
  onDone: () => void;
}

/** Enrolment: a secret for the app first, then a code of it as proof. */
export function EnrolFactor({ onDone }: DoneProps) {
  const enrol = useMutation({ mutationFn: () => unwrap(api.POST("/v1/users/me/second-factor")) });
  if (!enrol.data) {
    return (
      <div className="stack">
        <p>
          You need an authenticator app: any that shows six-digit codes will do. Have it at hand; the secret
          is shown this once.
        </p>
        {enrol.error && <ProblemView error={enrol.error} />}
        <footer>
          <Button onClick={onDone}>Cancel</Button>
          <Button variant="primary" disabled={enrol.isPending} onClick={() => enrol.mutate()}>
            Show the secret
          </Button>
        </footer>
      </div>
    );
  }
  const { secret, uri } = enrol.data;
  return (
    <CodeForm
      action="Turn it on"
      onDone={onDone}
      send={(code) => api.PUT("/v1/users/me/second-factor", { body: { code } })}
    >
      <p>Add an account to your app by this secret, or by the address on the device that has the app.</p>
      <div className="secret">
        <code>{groupByFour(secret)}</code>
        <CopyButton text={secret} label="Copy the secret" name="Copy" />
      </div>
      <p>
        <a href={uri}>Open in an authenticator app</a>{" "}
        <CopyButton text={uri} label="Copy the address (otpauth)" />
      </p>
    </CodeForm>
  );
}

export function RemoveFactor({ onDone }: DoneProps) {
  const client = useQueryClient();
  const remove = useMutation({
    mutationFn: () => unwrap(api.DELETE("/v1/users/me/second-factor")),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: me.queryKey });
      onDone();
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    remove.mutate();
  };
  return (
    <form className="stack plain" onSubmit={submit}>
      <p>Then the password alone is enough to sign in as you. If the app is lost, ask an admin instead.</p>
      {remove.error && <ProblemView error={remove.error} />}
      <footer>
        <Button onClick={onDone}>Cancel</Button>
        <Button type="submit" variant="danger" disabled={remove.isPending}>
          Turn it off
        </Button>
      </footer>
    </form>
  );
}

const groupByFour = (secret: string) => secret.replace(/(.{4})(?=.)/g, "$1 ");

interface CodeFormProps extends DoneProps {
  action: string;
  send: (code: string) => Promise<{ response: Response; error?: unknown }>;
  children: ReactNode;
}

function CodeForm({ action, send, onDone, children }: CodeFormProps) {
  const client = useQueryClient();
  const change = useMutation({
    mutationFn: (code: string) => unwrap(send(code)),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: me.queryKey });
      onDone();
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    change.mutate(String(new FormData(event.currentTarget).get("code")).replace(/\s/g, ""));
  };
  return (
    <form className="stack plain" onSubmit={submit}>
      {children}
      <CodeField />
      {change.error && <ProblemView error={change.error} />}
      <footer>
        <Button onClick={onDone}>Cancel</Button>
        <Button type="submit" variant="primary" disabled={change.isPending}>
          {action}
        </Button>
      </footer>
    </form>
  );
}
