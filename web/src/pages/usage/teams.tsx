import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { teams, usageOfTeams } from "../../api/queries-admin";
import type { Quota, Team, Usage } from "../../api/types";
import { PasswordField } from "../../auth/password-field";
import { Button, Field } from "../../components/basics";
import { Dialog, ProblemView } from "../../components/feedback";
import { ListCard } from "../../components/list";
import { formatCount } from "../../lib/format";
import { NAME_PATTERN } from "../../lib/roles";
import { amount } from "./labels";

const QUOTAS: { name: keyof Quota; label: string; unit?: string; min: number }[] = [
  { name: "jobs_at_once", label: "Jobs at once", min: 0 },
  { name: "cpu_seconds", label: "CPU time a month", unit: "seconds", min: 0 },
  { name: "gpu_seconds", label: "GPU time a month", unit: "seconds", min: 0 },
  { name: "storage_mb", label: "Storage", unit: "MB", min: 0 },
  { name: "requests_per_minute", label: "Requests a minute", min: 1 },
];
const HEADS = [
  "Team",
  { name: "Users", num: true },
  ...QUOTAS.map(({ label }) => ({ name: label, num: true })),
  { name: "Actions", num: true, hidden: true },
];

/** Every team with what it uses and may use; for the platform's operators. */
export function Teams() {
  const list = useQuery(teams);
  const used = useQuery(usageOfTeams);
  const [asked, setAsked] = useState<Team | "new" | null>(null);
  const close = () => setAsked(null);
  return (
    <>
      <ListCard
        title="What every team uses and may use"
        actions={
          <Button small icon="plus" onClick={() => setAsked("new")}>
            New team
          </Button>
        }
        query={list}
        items={list.data}
        caption="Teams, what they use and their quotas"
        heads={HEADS}
        empty={null}
      >
        {(team) => (
          <tr key={team.name}>
            <th scope="row">{team.name}</th>
            <td className="num">{formatCount(team.users)}</td>
            {QUOTAS.map(({ name }) => (
              <td key={name} className="num">
                <UsedOf name={name} team={team} usage={used.data?.find((one) => one.team === team.name)} />
              </td>
            ))}
            <td className="num">
              <Button small aria-label={`Change the quota of ${team.name}`} onClick={() => setAsked(team)}>
                Change
              </Button>
            </td>
          </tr>
        )}
      </ListCard>
      <Dialog
        title={asked === "new" ? "New team" : `What ${asked?.name} may use`}
        open={asked !== null}
        onClose={close}
      >
        {asked && <TeamForm team={asked === "new" ? undefined : asked} onDone={close} />}
      </Dialog>
    </>
  );
}

/** `1 h 30 min of 10 h`; a limit that the platform sets for every team is marked. */
function UsedOf({ name, team, usage }: { name: keyof Quota; team: Team; usage?: Usage }) {
  const item = usage?.items.find((one) => one.name === name);
  const limit = item ? item.limit : team.quota[name];
  return (
    <>
      {item ? amount(name, item.used) : "–"}{" "}
      <span className="muted">
        {limit === null ? "· no limit" : `of ${amount(name, limit)}`}
        {limit !== null && team.quota[name] === null && " (default)"}
      </span>
    </>
  );
}

function TeamForm({ team, onDone }: { team?: Team; onDone: () => void }) {
  const client = useQueryClient();
  const save = useMutation({
    mutationFn: (form: FormData) => {
      const quota = quotaOf(form);
      if (team) {
        const params = { path: { team: team.name } };
        return unwrap(api.PATCH("/v1/teams/{team}", { params, body: { quota } }));
      }
      const [name, admin_name] = [String(form.get("name")), String(form.get("admin"))];
      const admin_password = String(form.get("password"));
      return unwrap(api.POST("/v1/teams", { body: { name, admin_name, admin_password, quota } }));
    },
    onSuccess: async () => {
      await Promise.all(["teams", "usage"].map((key) => client.invalidateQueries({ queryKey: [key] })));
      onDone();
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    save.mutate(new FormData(event.currentTarget));
  };
  return (
    <form className="stack plain" onSubmit={submit}>
      {!team && (
        <>
          <NameField label="Name of the team" name="name" />
          <NameField label="User name of its first admin" name="admin" />
          <PasswordField label="First password of that admin" autoComplete="new-password" />
        </>
      )}
      <p className="hint">What is left empty is what the platform sets for every team.</p>
      <div className="form-grid">
        {QUOTAS.map(({ name, label, unit, min }) => (
          <Field key={name} label={unit ? `${label} (${unit})` : label}>
            {(id) => (
              <input
                id={id}
                name={`quota-${name}`}
                className="input"
                type="number"
                min={min}
                placeholder="default"
                defaultValue={team?.quota[name] ?? undefined}
              />
            )}
          </Field>
        ))}
      </div>
      {save.error && <ProblemView error={save.error} />}
      <footer>
        <Button onClick={onDone}>Cancel</Button>
        <Button type="submit" variant="primary" disabled={save.isPending}>
          {team ? "Save" : "Create the team"}
        </Button>
      </footer>
    </form>
  );
}

function NameField({ label, name }: { label: string; name: string }) {
  return (
    <Field label={label}>
      {(id) => (
        <input
          id={id}
          name={name}
          className="input"
          required
          pattern={NAME_PATTERN}
          title="Lower-case letters, digits, - and _, starting with a letter"
          autoComplete="off"
        />
      )}
    </Field>
  );
}

function quotaOf(form: FormData): Quota {
  const given = (name: string) => {
    const text = String(form.get(`quota-${name}`) ?? "");
    return text === "" ? null : Number(text);
  };
  return Object.fromEntries(QUOTAS.map(({ name }) => [name, given(name)])) as unknown as Quota;
}
