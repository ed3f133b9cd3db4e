import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { users } from "../../api/queries";
import type { NewUser, Role, User, UserChange } from "../../api/types";
import { PasswordField } from "../../auth/password-field";
import { useUser } from "../../auth/use-session";
import { Badge, Button, Page } from "../../components/basics";
import { Confirm } from "../../components/confirm";
import { Dialog, ProblemView } from "../../components/feedback";
import { NameField } from "../../components/fields";
import { ListCard } from "../../components/list";
import { RoleField } from "../../components/role-field";
import { ROLES } from "../../lib/roles";
import { formatAge } from "../../lib/time";

const HEADS = [
  "Name",
  "Role",
  "Signs in with",
  "State",
  "Created",
  { name: "Actions", num: true, hidden: true },
];

export function Component() {
  const list = useQuery(users);
  const self = useUser();
  const client = useQueryClient();
  const [adding, setAdding] = useState(false);
  const change = useMutation({
    mutationFn: ({ id, ...body }: UserChange & { id: string }) =>
      unwrap(api.PATCH("/v1/users/{user_id}", { params: { path: { user_id: id } }, body })),
    onSettled: () => client.invalidateQueries({ queryKey: ["users"] }),
  });
  return (
    <Page
      title="Users"
      intro="Who may sign in, and what their role lets them do. A change holds within five seconds."
      actions={
        <Button variant="primary" icon="plus" onClick={() => setAdding(true)}>
          Add a user
        </Button>
      }
    >
      {change.error && <ProblemView error={change.error} />}
      <ListCard query={list} items={list.data} caption="Users" heads={HEADS} empty={null}>
        {(user) => (
          <UserRow
            key={user.id}
            user={user}
            isSelf={user.id === self?.id}
            busy={change.isPending}
            change={(body) => change.mutateAsync({ id: user.id, ...body })}
          />
        )}
      </ListCard>
      <Dialog title="Add a user" open={adding} onClose={() => setAdding(false)}>
        <AddUser onDone={() => setAdding(false)} />
      </Dialog>
    </Page>
  );
}

type ChangeUser = (body: UserChange) => Promise<unknown>;

interface UserRowProps {
  user: User;
  /** The row is that of the signed-in user. */
  isSelf: boolean;
  busy: boolean;
  change: ChangeUser;
}

function UserRow({ user, isSelf, busy, change }: UserRowProps) {
  const name = user.user_name;
  return (
    <tr>
      <th scope="row">
        {name} {isSelf && <span className="muted">(you)</span>}
      </th>
      <td>
        <select
          className="input compact"
          aria-label={`Role of ${name}`}
          value={user.role}
          disabled={isSelf || busy}
          onChange={(event) => void change({ role: event.target.value as Role }).catch(() => undefined)}
        >
          {ROLES.map(([role, title]) => (
            <option key={role} value={role}>
              {title}
            </option>
          ))}
        </select>
      </td>
      <td>{signInMeans(user)}</td>
      <td>{user.disabled ? <Badge tone="warn">Disabled</Badge> : <Badge tone="good">Active</Badge>}</td>
      <td title={user.created_at}>{formatAge(user.created_at)}</td>
      <td>{!isSelf && <UserActions user={user} busy={busy} change={change} />}</td>
    </tr>
  );
}

function signInMeans(user: User): string {
  if (user.external) return "the organisation";
  return user.second_factor ? "password and code" : "password";
}

function UserActions({ user, busy, change }: Omit<UserRowProps, "isSelf">) {
  const name = user.user_name;
  return (
    <span className="actions end">
      {user.second_factor && (
        <Confirm
          button="Remove the code"
          label={`Remove the code of ${name}`}
          title={`Remove the second factor of ${name}?`}
          action="Remove it"
          run={() => change({ second_factor: false })}
          danger
        >
          For somebody who lost the authenticator app. Then the password alone is enough to sign in.
        </Confirm>
      )}
      {!user.external && <ResetPassword name={name} change={change} />}
      {user.disabled ? (
        <Button
          small
          aria-label={`Enable ${name}`}
          disabled={busy}
          onClick={() => void change({ disabled: false }).catch(() => undefined)}
        >
          Enable
        </Button>
      ) : (
        <Confirm
          button="Disable"
          label={`Disable ${name}`}
          title={`Disable ${name}?`}
          action="Disable the account"
          run={() => change({ disabled: true })}
          danger
        >
          Every session and API key of {name} stops working within seconds. An admin can enable the account
          again.
        </Confirm>
      )}
    </span>
  );
}

function ResetPassword({ name, change }: { name: string; change: ChangeUser }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <Button small aria-label={`New password for ${name}`} onClick={() => setOpen(true)}>
        New password
      </Button>
      <Dialog title={`New password for ${name}`} open={open} onClose={() => setOpen(false)}>
        <NewPassword change={change} onDone={() => setOpen(false)} />
      </Dialog>
    </>
  );
}

function NewPassword({ change, onDone }: { change: ChangeUser; onDone: () => void }) {
  const reset = useMutation({ mutationFn: change, onSuccess: onDone });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    reset.mutate({ password: String(new FormData(event.currentTarget).get("password")) });
  };
  return (
    <form className="stack plain" onSubmit={submit}>
      <PasswordField label="New password" autoComplete="new-password" />
      {reset.error && <ProblemView error={reset.error} />}
      <footer>
        <Button onClick={onDone}>Cancel</Button>
        <Button type="submit" variant="primary" disabled={reset.isPending}>
          Set the password
        </Button>
      </footer>
    </form>
  );
}

function AddUser({ onDone }: { onDone: () => void }) {
  const client = useQueryClient();
  const add = useMutation({
    mutationFn: (body: NewUser) => unwrap(api.POST("/v1/users", { body })),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ["users"] });
      onDone();
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    add.mutate({
      user_name: String(form.get("user")),
      password: String(form.get("password")),
      role: form.get("role") as Role,
    });
  };
  return (
    <form className="stack plain" onSubmit={submit}>
      <NameField label="User name" name="user" />
      <PasswordField label="First password" autoComplete="new-password" />
      <RoleField />
      {add.error && <ProblemView error={add.error} />}
      <footer>
        <Button onClick={onDone}>Cancel</Button>
        <Button type="submit" variant="primary" disabled={add.isPending}>
          Add the user
        </Button>
      </footer>
    </form>
  );
}
