import { type FormEvent, useState } from "react";
import type { Role, Scope, ServiceAccount } from "../../api/types";
import { Button } from "../../components/basics";
import { ProblemView } from "../../components/feedback";
import { NameField } from "../../components/fields";
import { RoleField } from "../../components/role-field";
import { ScopeChoices, scopesOf } from "../../components/scopes";

export interface AccountValues {
  name: string;
  role: Role;
  scopes: Scope[];
  disabled: boolean;
}

interface AccountFormProps {
  /** Account to change; without one, a new account is made. */
  account?: ServiceAccount;
  save: (values: AccountValues) => void;
  pending: boolean;
  error: unknown;
  onCancel: () => void;
}

export function AccountForm({ account, save, pending, error, onCancel }: AccountFormProps) {
  const [lacksScope, setLacksScope] = useState(false);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const scopes = scopesOf(form);
    setLacksScope(scopes.length === 0);
    if (scopes.length === 0) return;
    const role = form.get("role") as Role;
    save({ name: String(form.get("name")), role, scopes, disabled: form.has("disabled") });
  };
  return (
    <form className="stack plain" onSubmit={submit}>
      {account ? (
        <p>
          <b>{account.name}</b> · what is changed here holds within seconds.
        </p>
      ) : (
        <NameField label="Name" hint="What signs in with it, such as warehouse-sync." name="name" />
      )}
      <RoleField initial={account?.role} />
      <ScopeChoices
        chosen={account?.scopes}
        error={lacksScope ? "Choose at least one thing that it may do." : undefined}
      />
      {account && (
        <label className="check">
          <input type="checkbox" name="disabled" defaultChecked={account.disabled} />
          Disabled: it cannot sign in
        </label>
      )}
      {Boolean(error) && <ProblemView error={error} />}
      <footer>
        <Button onClick={onCancel}>Cancel</Button>
        <Button type="submit" variant="primary" disabled={pending}>
          {account ? "Save" : "Create the account"}
        </Button>
      </footer>
    </form>
  );
}
