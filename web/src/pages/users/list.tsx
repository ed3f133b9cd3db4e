import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { users } from "../../api/queries";
import type { NewUser, Role, User, UserChange } from "../../api/types";
import { useUser } from "../../auth/use-session";
import { Badge, Button, Card, Field, LoadingRows, Page } from "../../components/basics";
import { Dialog, ProblemView } from "../../components/feedback";
import { NAME_PATTERN, ROLE_NAMES } from "../../lib/roles";
import { formatAge } from "../../lib/time";

const ROLES = Object.entries(ROLE_NAMES) as [Role, string][];

const MAY: Record<Role, string> = {
  viewer: "Looks and asks for forecasts.",
  analyst: "Also uploads data and runs batch forecasts.",
  ml_engineer: "Also trains, promotes and stops jobs.",
  admin: "Also manages users.",
};

export function Component() {
  const list = useQuery(users);
  const [adding, setAdding] = useState(false);
  return (
    <Page
      title="Users"
      intro="Who may sign in, and what their role lets them do."
      actions={
        <Button variant="primary" icon="plus" onClick={() => setAdding(true)}>
          Add a user
        </Button>
      }
    >
      {list.error && <ProblemView error={list.error} retry={list.refetch} />}
      <Card flush>
        {list.isPending && <LoadingRows />}
        {list.data && <UserTable users={list.data} />}
      </Card>
      <Dialog title="Add a user" open={adding} onClose={() => setAdding(false)}>
        <AddUser onDone={() => setAdding(false)} />
      </Dialog>
    </Page>
  );
}

function UserTable({ users: list }: { users: User[] }) {
  const client = useQueryClient();
  const self = useUser();
  const change = useMutation({
    mutationFn: ({ id, ...body }: UserChange & { id: string }) =>
      unwrap(api.PATCH("/v1/users/{user_id}", { params: { path: { user_id: id } }, body })),
    onSettled: () => client.invalidateQueries({ queryKey: ["users"] }),
  });
  return (
    <>
      {change.error && <ProblemView error={change.error} />}
      <div className="scroll">
        <table className="table">
          <caption className="sr-only">Users</caption>
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col">Role</th>
              <th scope="col">Team</th>
              <th scope="col">State</th>
              <th scope="col">Created</th>
              <th scope="col">
                <span className="sr-only">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {list.map((user) => (
              <tr key={user.id}>
                <th scope="row">
                  {user.user_name} {user.id === self?.id && <span className="muted">(you)</span>}
                </th>
                <td>
                  <select
                    className="input compact"
                    aria-label={`Role of ${user.user_name}`}
                    value={user.role}
                    disabled={user.id === self?.id || change.isPending}
                    onChange={(e) => change.mutate({ id: user.id, role: e.target.value as Role })}
                  >
                    {ROLES.map(([role, name]) => (
                      <option key={role} value={role}>
                        {name}
                      </option>
                    ))}
                  </select>
                </td>
                <td>{user.team}</td>
                <td>
                  {user.disabled ? <Badge tone="warn">Disabled</Badge> : <Badge tone="good">Active</Badge>}
                </td>
                <td>{formatAge(user.created_at)}</td>
                <td className="num">
                  {user.id !== self?.id && (
                    <Button
                      small
                      disabled={change.isPending}
                      onClick={() => change.mutate({ id: user.id, disabled: !user.disabled })}
                    >
                      {user.disabled ? "Enable" : "Disable"}
                    </Button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function AddUser({ onDone }: { onDone: () => void }) {
  const client = useQueryClient();
  const [role, setRole] = useState<Role>("viewer");
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
    add.mutate({ user_name: String(form.get("user")), password: String(form.get("password")), role });
  };
  return (
    <form className="stack plain" onSubmit={submit}>
      <Field label="User name">
        {(id) => (
          <input
            id={id}
            name="user"
            className="input"
            required
            pattern={NAME_PATTERN}
            title="Lower-case letters, digits, - and _, starting with a letter"
            autoComplete="off"
          />
        )}
      </Field>
      <Field label="First password" hint="At least 12 characters.">
        {(id, d) => (
          <input
            id={id}
            aria-describedby={d}
            name="password"
            className="input"
            type="password"
            required
            minLength={12}
            maxLength={256}
            autoComplete="new-password"
          />
        )}
      </Field>
      <Field label="Role" hint={MAY[role]}>
        {(id, d) => (
          <select
            id={id}
            aria-describedby={d}
            className="input"
            value={role}
            onChange={(e) => setRole(e.target.value as Role)}
          >
            {ROLES.map(([value, name]) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </select>
        )}
      </Field>
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
