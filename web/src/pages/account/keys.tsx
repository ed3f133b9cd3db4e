import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { apiKeys } from "../../api/queries-admin";
import type { ApiKey, NewApiKey } from "../../api/types";
import { Badge, Button } from "../../components/basics";
import { Confirm } from "../../components/confirm";
import { Dialog, Empty, ProblemView } from "../../components/feedback";
import { NameField, SelectField } from "../../components/fields";
import { ListCard } from "../../components/list";
import { ScopeBadges, ScopeChoices, scopesOf } from "../../components/scopes";
import { Secret } from "../../components/secret";
import { formatAge, formatDate } from "../../lib/time";

const LIFETIMES = [
  ["P7D", "7 days"],
  ["P30D", "30 days"],
  ["P90D", "90 days"],
  ["P365D", "a year"],
] as const;
const HEADS = ["Name", "Begins with", "May", "Last used", "State"];
const ACTIONS = { name: "Actions", num: true, hidden: true };

/** API keys of the user, with a way to make more, or of the whole team, for admins. */
export function ApiKeys({ owner = "me" }: { owner?: "me" | "team" }) {
  const [adding, setAdding] = useState(false);
  const list = useQuery(apiKeys(owner));
  const personal = owner === "me";
  return (
    <>
      <ListCard
        title={personal ? "Your API keys" : "API keys of the team"}
        actions={
          personal && (
            <Button small icon="plus" onClick={() => setAdding(true)}>
              New key
            </Button>
          )
        }
        query={list}
        items={list.data}
        caption="API keys, newest first"
        heads={personal ? [...HEADS, ACTIONS] : [...HEADS.slice(0, 1), "Owner", ...HEADS.slice(1), ACTIONS]}
        empty={
          <Empty title="No API key yet">
            A key lets a program act for {personal ? "you" : "its owner"} within the scopes that it was given,
            until it ends.
          </Empty>
        }
      >
        {(key) => <KeyRow key={key.id} apiKey={key} showOwner={!personal} />}
      </ListCard>
      <Dialog title="New API key" open={adding} onClose={() => setAdding(false)}>
        <NewKey onDone={() => setAdding(false)} />
      </Dialog>
    </>
  );
}

function KeyRow({ apiKey: key, showOwner }: { apiKey: ApiKey; showOwner: boolean }) {
  const client = useQueryClient();
  const state = stateOf(key);
  const revoke = async () => {
    await unwrap(api.DELETE("/v1/api-keys/{key_id}", { params: { path: { key_id: key.id } } }));
    await client.invalidateQueries({ queryKey: ["api-keys"] });
  };
  return (
    <tr>
      <th scope="row">{key.name}</th>
      {showOwner && <td>{key.owner}</td>}
      <td>
        <code>{key.hint}…</code>
      </td>
      <td>
        <ScopeBadges scopes={key.scopes} />
      </td>
      <td title={key.used_at ?? undefined}>{key.used_at ? formatAge(key.used_at) : "never"}</td>
      <td>
        {state === "active" ? (
          <>
            <Badge tone="good">Active</Badge>{" "}
            <span className="muted">until {formatDate(key.expires_at)}</span>
          </>
        ) : (
          <Badge>{state}</Badge>
        )}
      </td>
      <td className="num">
        {state === "active" && (
          <Confirm
            button="Revoke"
            label={`Revoke ${key.name}`}
            title={`Revoke the key ${key.name}?`}
            action="Revoke the key"
            keep="Keep it"
            run={revoke}
            danger
          >
            Whatever uses it is refused from now on. A revoked key cannot be brought back.
          </Confirm>
        )}
      </td>
    </tr>
  );
}

function stateOf(key: ApiKey): "active" | "Revoked" | "Ended" {
  if (key.revoked_at) return "Revoked";
  return Date.parse(key.expires_at) < Date.now() ? "Ended" : "active";
}

function NewKey({ onDone }: { onDone: () => void }) {
  const client = useQueryClient();
  const create = useMutation({
    mutationFn: (body: NewApiKey) => unwrap(api.POST("/v1/api-keys", { body })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["api-keys"] }),
  });
  const [lacksScope, setLacksScope] = useState(false);
  if (create.data) return <Secret name="key" text={create.data.key} onDone={onDone} />;
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const scopes = scopesOf(form);
    setLacksScope(scopes.length === 0);
    if (scopes.length === 0) return;
    create.mutate({ name: String(form.get("name")), scopes, expires_in: String(form.get("lifetime")) });
  };
  return (
    <form className="stack plain" onSubmit={submit}>
      <NameField label="Name" hint="What will use it, such as nightly-report." name="name" />
      <ScopeChoices error={lacksScope ? "Choose at least one thing that the key may do." : undefined} />
      <SelectField
        label="Works for"
        hint="Your role must allow what the key does, too."
        name="lifetime"
        options={LIFETIMES}
        defaultValue="P90D"
      />
      {create.error && <ProblemView error={create.error} />}
      <footer>
        <Button onClick={onDone}>Cancel</Button>
        <Button type="submit" variant="primary" disabled={create.isPending}>
          Create the key
        </Button>
      </footer>
    </form>
  );
}
