import { useMutation } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState, useSyncExternalStore } from "react";
import { asProblem } from "../api/problem";
import { Button } from "../components/basics";
import { Dialog, ProblemView } from "../components/feedback";
import { CodeField } from "./code-field";
import { PasswordField } from "./password-field";
import { session } from "./session";
import { useUser } from "./use-session";

const close = () => session.cancelReauthentication();

/** Dialog that asks for the password whenever a request waits for it; then the request goes on. */
export function PasswordAgain() {
  const open = useSyncExternalStore(session.subscribe, () => session.asksForPassword);
  const external = useUser()?.external ?? false;
  return (
    <Dialog title={external ? "Sign in again" : "Your password, again"} open={open} onClose={close}>
      {external ? <AfterSignIn /> : <WithPassword />}
    </Dialog>
  );
}

function WithPassword() {
  const [needsCode, setNeedsCode] = useState(false);
  const give = useMutation({
    mutationFn: (form: FormData) => {
      const code = String(form.get("code") ?? "").replace(/\s/g, "");
      return session.reauthenticate(String(form.get("password")), code);
    },
    onError: (error) => {
      if (asProblem(error).code === "second_factor_required") setNeedsCode(true);
    },
  });
  const refused = give.error && asProblem(give.error).code !== "second_factor_required" && give.error;
  return (
    <Form pending={give.isPending} onSubmit={give.mutate}>
      <p>This hands out or changes a credential. It holds for five minutes.</p>
      <PasswordField autoComplete="current-password" />
      {needsCode && <CodeField autoFocus />}
      {refused && <ProblemView error={refused} />}
    </Form>
  );
}

function AfterSignIn() {
  const give = useMutation({ mutationFn: () => session.reauthenticate() });
  return (
    <Form pending={give.isPending} onSubmit={() => give.mutate()}>
      <p>
        This hands out or changes a credential, and needs a sign-in at your organisation within the last five
        minutes.
      </p>
      {give.error && <ProblemView error={give.error} />}
      <a className="button" href="/v1/oauth/oidc/start?prompt=login">
        Sign in with your organisation
      </a>
    </Form>
  );
}

interface FormProps {
  pending: boolean;
  onSubmit: (form: FormData) => void;
  children: ReactNode;
}

function Form({ pending, onSubmit, children }: FormProps) {
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    onSubmit(new FormData(event.currentTarget));
  };
  return (
    <form className="stack plain" onSubmit={submit}>
      {children}
      <footer>
        <Button onClick={close}>Cancel</Button>
        <Button type="submit" variant="primary" disabled={pending}>
          Continue
        </Button>
      </footer>
    </form>
  );
}
