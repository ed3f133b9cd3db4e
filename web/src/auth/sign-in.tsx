import { useMutation, useQuery } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { api } from "../api/client";
import { asProblem, unwrap } from "../api/problem";
import { Button } from "../components/basics";
import { Notice, ProblemView } from "../components/feedback";
import { NameField, TextField } from "../components/fields";
import { Logo } from "../components/icons";
import { formatWait } from "../lib/time";
import { CodeField } from "./code-field";
import { PasswordField } from "./password-field";
import { session } from "./session";

const setupState = {
  queryKey: ["setup"],
  queryFn: () => unwrap(api.GET("/v1/setup")),
  retry: false,
};

/** Sign-in in place of the page, so that the address survives it. */
export function Gate() {
  const setup = useQuery(setupState);
  return (
    <main className="gate">
      <title>Sign in · Quantis</title>
      <Fan />
      <section className="gate-card card">
        <div className="brand">
          <Logo />
          <b>quantis</b>
        </div>
        {setup.data?.open ? (
          <FirstAdmin onDone={() => setup.refetch()} />
        ) : (
          <SignIn oidc={setup.data?.oidc ?? false} />
        )}
        {setup.error && <ProblemView error={setup.error} retry={() => setup.refetch()} />}
      </section>
    </main>
  );
}

function SignIn({ oidc }: { oidc: boolean }) {
  const [needsCode, setNeedsCode] = useState(false);
  const signIn = useMutation({
    mutationFn: (form: FormData) => {
      const code = String(form.get("code") ?? "").replace(/\s/g, "");
      return session.signIn(String(form.get("user")), String(form.get("password")), code);
    },
    onError: (error) => {
      if (asProblem(error).code === "second_factor_required") setNeedsCode(true);
    },
  });
  return (
    <>
      <CredentialForm title="Sign in" pending={signIn.isPending} action="Sign in" onSubmit={signIn.mutate}>
        <UserField onChange={() => setNeedsCode(false)} />
        <PasswordField autoComplete="current-password" />
        {needsCode && <CodeField autoFocus />}
        {signIn.error && <Refused error={signIn.error} />}
      </CredentialForm>
      {oidc && (
        <a className="button" href="/v1/oauth/oidc/start">
          Sign in with your organisation
        </a>
      )}
    </>
  );
}

/** Reason of a refused sign-in; a request for the code is none. */
function Refused({ error }: { error: unknown }) {
  const problem = asProblem(error);
  if (problem.code === "second_factor_required") return null;
  if (problem.status !== 429) return <ProblemView error={error} />;
  return (
    <Notice tone="bad" title="Too many attempts">
      <p>
        Wait {problem.retryAfter === null ? "a few minutes" : formatWait(problem.retryAfter)}, then try again.
        The account is not locked.
      </p>
    </Notice>
  );
}

function FirstAdmin({ onDone }: { onDone: () => void }) {
  const create = useMutation({
    mutationFn: async (form: FormData) => {
      const [user_name, password] = [String(form.get("user")), String(form.get("password"))];
      const secret = String(form.get("secret")).trim();
      await unwrap(api.POST("/v1/setup", { body: { secret, user_name, password } }));
      await session.signIn(user_name, password);
    },
    onSuccess: onDone,
  });
  return (
    <CredentialForm
      title="Create the first admin"
      pending={create.isPending}
      action="Create and sign in"
      onSubmit={create.mutate}
    >
      <p className="hint">
        This platform has no account yet. <code>quantis up</code> wrote a one-time secret; it opens this form
        once.
      </p>
      <TextField label="One-time secret" name="secret" className="mono" required autoComplete="off" />
      <UserField />
      <PasswordField autoComplete="new-password" />
      {create.error && <ProblemView error={create.error} />}
    </CredentialForm>
  );
}

interface CredentialFormProps {
  title: string;
  action: string;
  pending: boolean;
  onSubmit: (form: FormData) => void;
  children: ReactNode;
}

function CredentialForm({ title, action, pending, onSubmit, children }: CredentialFormProps) {
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    onSubmit(new FormData(event.currentTarget));
  };
  return (
    <form className="stack" onSubmit={submit}>
      <h1>{title}</h1>
      {children}
      <Button type="submit" variant="primary" disabled={pending}>
        {pending ? "One moment…" : action}
      </Button>
    </form>
  );
}

function UserField({ onChange }: { onChange?: () => void }) {
  return (
    <NameField
      label="User name"
      name="user"
      autoComplete="username"
      onChange={onChange}
      autoCapitalize="none"
      spellCheck={false}
    />
  );
}

/** Picture of the gate: a history that opens into its quantiles. */
function Fan() {
  return (
    <svg className="gate-art" viewBox="0 0 1200 800" preserveAspectRatio="xMidYMid slice" aria-hidden="true">
      <path
        d="M560 430C760 380 960 250 1240 90V760C960 640 760 520 560 430Z"
        fill="#5b7cff"
        fillOpacity=".16"
      />
      <path
        d="M560 430C760 395 960 310 1240 215V640C960 560 760 480 560 430Z"
        fill="#5b7cff"
        fillOpacity=".26"
      />
      <path
        d="M-20 520 40 470 90 505 140 380 190 450 240 420 300 560 350 500 400 515 450 370 500 455 560 430"
        fill="none"
        stroke="#c9d4f5"
        strokeOpacity=".75"
        strokeWidth="3"
        strokeLinejoin="round"
      />
      <path d="M560 430C760 440 960 430 1240 410" fill="none" stroke="#a9bcff" strokeWidth="4" />
      <path
        d="M560 430 620 400 680 455 740 425 800 470 860 380 920 420 980 350 1040 445 1100 400 1160 470 1240 430"
        fill="none"
        stroke="#ffa552"
        strokeWidth="4"
        strokeDasharray="1 10"
        strokeLinecap="round"
      />
    </svg>
  );
}
