/** Descriptions of every call that changes something, by method and route. */
const ACTIONS: Record<string, string> = {
  "POST /v1/setup": "Make the first admin",
  "POST /v1/oauth/token": "Sign in, or stay signed in",
  "POST /v1/oauth/revoke": "Sign out",
  "POST /v1/users/me/password": "Change the own password",
  "POST /v1/users/me/reauthentication": "Give the password again",
  "POST /v1/users/me/second-factor": "Begin a second factor",
  "PUT /v1/users/me/second-factor": "Turn a second factor on",
  "DELETE /v1/users/me/second-factor": "Turn a second factor off",
  "DELETE /v1/users/me/sessions": "Sign out everywhere else",
  "DELETE /v1/users/me/sessions/{session_id}": "End a session",
  "POST /v1/users": "Add a user",
  "PATCH /v1/users/{user_id}": "Change a user",
  "POST /v1/api-keys": "Create an API key",
  "DELETE /v1/api-keys/{key_id}": "Revoke an API key",
  "POST /v1/clients": "Create a service account",
  "PATCH /v1/clients/{client_id}": "Change a service account",
  "DELETE /v1/clients/{client_id}": "Delete a service account",
  "POST /v1/clients/{client_id}/secret": "Renew a client secret",
  "POST /v1/teams": "Create a team",
  "PATCH /v1/teams/{team}": "Change a team's quota",
  "POST /v1/datasets": "Create a dataset",
  "DELETE /v1/datasets/{name}": "Delete a dataset",
  "POST /v1/datasets/{name}/versions": "Upload data",
  "POST /v1/datasets/{name}/imports": "Import data",
  "POST /v1/datasets/{name}/observations": "Append observations",
  "DELETE /v1/datasets/{name}/series/{unique_id}": "Delete a series",
  "POST /v1/datasets/{name}/series/{unique_id}/restore": "Restore a series",
  "POST /v1/jobs": "Start a job",
  "POST /v1/jobs/{job_id}/stop": "Stop a job",
  "DELETE /v1/jobs/{job_id}": "Delete a job",
  "DELETE /v1/models/{name}": "Delete a model",
  "DELETE /v1/models/{name}/versions/{version}": "Delete a model version",
  "PUT /v1/models/{name}/aliases/{alias}": "Promote a model version",
  "DELETE /v1/models/{name}/aliases/{alias}": "Take an alias of a model away",
  "PUT /v1/models/{name}/policy": "Change who decides about a model",
  "PUT /v1/models/{name}/traffic": "Divide a model's requests between versions",
  "POST /v1/schedules": "Create a schedule",
  "PATCH /v1/schedules/{schedule_id}": "Change a schedule",
  "DELETE /v1/schedules/{schedule_id}": "Delete a schedule",
  "POST /v1/approvals/{approval_id}/approve": "Approve a request",
  "POST /v1/approvals/{approval_id}/refuse": "Refuse a request",
  "POST /v1/alert-rules": "Add an alert rule",
  "PATCH /v1/alert-rules/{rule_id}": "Change an alert rule",
  "DELETE /v1/alert-rules/{rule_id}": "Delete an alert rule",
  "POST /v1/alerts/{alert_id}/acknowledge": "Acknowledge an alert",
  "POST /v1/alerts/{alert_id}/snooze": "Snooze an alert",
  "POST /v1/alerts/{alert_id}/resolve": "Resolve an alert",
  "POST /v1/alert-channels": "Add a channel for alerts",
  "PATCH /v1/alert-channels/{channel_id}": "Change a channel for alerts",
  "DELETE /v1/alert-channels/{channel_id}": "Delete a channel for alerts",
  "POST /v1/alert-channels/{channel_id}/test": "Test a channel for alerts",
  "POST /v1/alert-deliveries/{delivery_id}/replay": "Send a notification again",
};

/** Describe a call: `Start a job`; by method and route where it has no description. */
export const actionText = (action: string) => ACTIONS[action.replaceAll(":path}", "}")] ?? action;

/** Write one value of an event's detail in a line. */
export function detailText(value: unknown): string {
  if (Array.isArray(value)) return value.map(detailText).join(", ");
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}
