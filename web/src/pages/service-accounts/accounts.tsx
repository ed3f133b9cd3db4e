import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { serviceAccounts } from "../../api/queries-admin";
import type { ServiceAccount, ServiceAccountChange } from "../../api/types";
import { Badge, Button, CopyText } from "../../components/basics";
import { Confirm } from "../../components/confirm";
import { Dialog, Empty } from "../../components/feedback";
import { ListCard } from "../../components/list";
import { ScopeBadges } from "../../components/scopes";
import { Secret } from "../../components/secret";
import { ROLE_NAMES } from "../../lib/roles";
import { formatAge } from "../../lib/time";
import { AccountForm } from "./account-form";

const HEADS = ["Name", "Client id", "Role", "May", "State", { name: "Actions", num: true, hidden: true }];
type Asked =
  | { kind: "new" }
  | { kind: "edit"; account: ServiceAccount }
  | { kind: "secret"; text: string }
  | null;
const TITLES = { new: "New service account", edit: "Change the account", secret: "Client secret" };

export function ServiceAccounts() {
  const client = useQueryClient();
  const list = useQuery(serviceAccounts);
  const [asked, setAsked] = useState<Asked>(null);
  const close = () => setAsked(null);
  const changed = () => client.invalidateQueries({ queryKey: ["clients"] });
  const create = useMutation({
    mutationFn: (body: ServiceAccountChange & { name: string }) =>
      unwrap(
        api.POST("/v1/clients", {
          body: { name: body.name, role: body.role ?? "viewer", scopes: body.scopes ?? [] },
        }),
      ),
    onSuccess: async (made) => {
      await changed();
      setAsked({ kind: "secret", text: made.client_secret });
    },
  });
  const change = useMutation({
    mutationFn: ({ id, ...body }: ServiceAccountChange & { id: string }) =>
      unwrap(api.PATCH("/v1/clients/{client_id}", { params: { path: { client_id: id } }, body })),
    onSuccess: async () => {
      await changed();
      close();
    },
  });
  const open = (next: Asked) => {
    create.reset();
    change.reset();
    setAsked(next);
  };
  return (
    <>
      <ListCard
        title="Service accounts"
        actions={
          <Button small icon="plus" onClick={() => open({ kind: "new" })}>
            New service account
          </Button>
        }
        of={list}
        items={list.data}
        caption="Service accounts"
        heads={HEADS}
        empty={
          <Empty title="No service account yet">
            A pipeline that belongs to the team, not to one person, signs in with an account of its own.
          </Empty>
        }
      >
        {(account) => (
          <AccountRow
            key={account.id}
            account={account}
            onEdit={() => open({ kind: "edit", account })}
            onSecret={(text) => open({ kind: "secret", text })}
          />
        )}
      </ListCard>
      <Dialog title={asked ? TITLES[asked.kind] : ""} open={asked !== null} onClose={close}>
        {asked?.kind === "new" && <AccountForm asked={create} onDone={close} />}
        {asked?.kind === "edit" && (
          <AccountForm
            account={asked.account}
            asked={{
              ...change,
              mutate: ({ name: _, ...body }) => change.mutate({ ...body, id: asked.account.id }),
            }}
            onDone={close}
          />
        )}
        {asked?.kind === "secret" && <Secret what="client secret" text={asked.text} onDone={close} />}
      </Dialog>
    </>
  );
}

interface RowProps {
  account: ServiceAccount;
  onEdit: () => void;
  onSecret: (text: string) => void;
}

function AccountRow({ account, onEdit, onSecret }: RowProps) {
  const client = useQueryClient();
  const changed = () => client.invalidateQueries({ queryKey: ["clients"] });
  const path = { params: { path: { client_id: account.id } } };
  const renew = async () =>
    onSecret((await unwrap(api.POST("/v1/clients/{client_id}/secret", path))).client_secret);
  const remove = async () => {
    await unwrap(api.DELETE("/v1/clients/{client_id}", path));
    await changed();
  };
  return (
    <tr>
      <th scope="row">
        {account.name}
        <div className="hint">
          {formatAge(account.created_at)} by {account.created_by}
        </div>
      </th>
      <td>
        <CopyText
          text={account.id}
          short={`${account.id.slice(0, 8)}…`}
          label={`Copy the client id of ${account.name}`}
        />
      </td>
      <td>{ROLE_NAMES[account.role]}</td>
      <td>
        <ScopeBadges scopes={account.scopes} />
      </td>
      <td>{account.disabled ? <Badge tone="warn">Disabled</Badge> : <Badge tone="good">Active</Badge>}</td>
      <td>
        <span className="actions end">
          <Button small aria-label={`Change ${account.name}`} onClick={onEdit}>
            Change
          </Button>
          <Confirm
            button="New secret"
            label={`New secret for ${account.name}`}
            title={`A new secret for ${account.name}?`}
            action="Make a new secret"
            run={renew}
          >
            The secret of now stops working at once; whatever uses it needs the new one.
          </Confirm>
          <Confirm
            button="Delete"
            label={`Delete ${account.name}`}
            title={`Delete ${account.name}?`}
            action="Delete the account"
            keep="Keep it"
            run={remove}
            danger
          >
            Its tokens stop working at once. What it did stays in the audit trail.
          </Confirm>
        </span>
      </td>
    </tr>
  );
}
