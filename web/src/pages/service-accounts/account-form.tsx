import { type FormEvent, useState } from "react";
import type { Role, Scope, ServiceAccount } from "../../api/types";
import { Button, Field } from "../../components/basics";
import { ProblemView } from "../../components/feedback";
import { RoleField } from "../../components/role-field";
import { ScopeChoices, scopesOf } from "../../components/scopes";
import { NAME_PATTERN } from "../../lib/roles";

interface Given {
  name: string;
  role: Role;
  scopes: Scope[];
  disabled?: boolean;
}

interface AccountFormProps {
  account?: ServiceAccount;
  asked: { mutate: (given: Given) => void; isPending: boolean; error: unknown };
  onDone: () => void;
}

/** A new service account, or another role, scopes or state for one. */
export function AccountForm({ account, asked, onDone }: AccountFormProps) {
  const [none, setNone] = useState(false);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const scopes = scopesOf(form);
    setNone(scopes.length === 0);
    if (scopes.length > 0) {
      const role = form.get("role") as Role;
      asked.mutate({ name: String(form.get("name")), role, scopes, disabled: form.has("disabled") });
    }
  };
  return (
    <form className="stack plain" onSubmit={submit}>
      {account ? (
        <p>
          <b>{account.name}</b> · what is changed here holds within seconds.
        </p>
      ) : (
        <Field label="Name" hint="What signs in with it, such as warehouse-sync.">
          {(id, d) => (
            <input
              id={id}
              aria-describedby={d}
              name="name"
              className="input"
              required
              pattern={NAME_PATTERN}
              title="Lower-case letters, digits, - and _, starting with a letter"
              autoComplete="off"
            />
          )}
        </Field>
      )}
      <RoleField initial={account?.role} />
      <ScopeChoices chosen={account?.scopes} />
      {account && (
        <label className="check">
          <input type="checkbox" name="disabled" defaultChecked={account.disabled} />
          Disabled: it cannot sign in
        </label>
      )}
      {none && <p role="alert">Choose at least one thing that it may do.</p>}
      {Boolean(asked.error) && <ProblemView error={asked.error} />}
      <footer>
        <Button onClick={onDone}>Cancel</Button>
        <Button type="submit" variant="primary" disabled={asked.isPending}>
          {account ? "Save" : "Create the account"}
        </Button>
      </footer>
    </form>
  );
}
