import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { teams, usageOfTeams } from "../../api/queries-admin";
import type { Quota, Team, Usage } from "../../api/types";
import { PasswordField } from "../../auth/password-field";
import { Button } from "../../components/basics";
import { Dialog, ProblemView } from "../../components/feedback";
import { NameField, NumberField } from "../../components/fields";
import { ListCard } from "../../components/list";
import { formatCount } from "../../lib/format";
import { formatAmount } from "./labels";

const QUOTAS: { name: keyof Quota; label: string; unit?: string; min: number }[] = [
  { name: "jobs_at_once", label: "Jobs at once", min: 0 },
  { name: "jobs_waiting", label: "Jobs that wait", min: 0 },
  { name: "cpu_seconds", label: "CPU time a month", unit: "seconds", min: 0 },
  { name: "gpu_seconds", label: "GPU time a month", unit: "seconds", min: 0 },
  { name: "storage_mb", label: "Storage", unit: "MB", min: 0 },
  { name: "requests_per_minute", label: "Requests a minute", min: 1 },
  { name: "forecast_days", label: "Forecasts are kept", unit: "days", min: 1 },
];
const HEADS = [
  "Team",
  { name: "Users", num: true },
  ...QUOTAS.map(({ label }) => ({ name: label, num: true })),
  { name: "Actions", num: true, hidden: true },
];

/** Usage and quota of every team, for the platform's operators. */
export function Teams() {
  const list = useQuery(teams);
  const usage = useQuery(usageOfTeams);
  const [edited, setEdited] = useState<Team | "new" | null>(null);
  const close = () => setEdited(null);
  return (
    <>
      <ListCard
        title="What every team uses and may use"
        actions={
          <Button small icon="plus" onClick={() => setEdited("new")}>
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
                <QuotaUse
                  name={name}
                  team={team}
                  usage={usage.data?.find((item) => item.team === team.name)}
                />
              </td>
            ))}
            <td className="num">
              <Button small aria-label={`Change the quota of ${team.name}`} onClick={() => setEdited(team)}>
                Change
              </Button>
            </td>
          </tr>
        )}
      </ListCard>
      <Dialog
        title={edited === "new" ? "New team" : `What ${edited?.name} may use`}
        open={edited !== null}
        onClose={close}
      >
        {edited && <TeamForm team={edited === "new" ? undefined : edited} onDone={close} />}
      </Dialog>
    </>
  );
}

/** Use of a quota: `1 h 30 min of 10 h`; a limit that the platform sets for every team is marked. */
function QuotaUse({ name, team, usage }: { name: keyof Quota; team: Team; usage?: Usage }) {
  const item = usage?.items.find((quota) => quota.name === name);
  const limit = item ? item.limit : team.quota[name];
  return (
    <>
      {item ? formatAmount(name, item.used) : "–"}{" "}
      <span className="muted">
        {limit === null ? "· no limit" : `of ${formatAmount(name, limit)}`}
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
          <NumberField
            key={name}
            label={unit ? `${label} (${unit})` : label}
            name={`quota-${name}`}
            min={min}
            placeholder="default"
            defaultValue={team?.quota[name] ?? undefined}
          />
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

function quotaOf(form: FormData): Quota {
  const limitOf = (name: string) => {
    const text = String(form.get(`quota-${name}`) ?? "");
    return text === "" ? null : Number(text);
  };
  return Object.fromEntries(QUOTAS.map(({ name }) => [name, limitOf(name)])) as unknown as Quota;
}
