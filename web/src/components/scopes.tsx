import type { Scope } from "../api/types";
import { Badge } from "./basics";

const SCOPES: Record<Scope, string> = {
  read: "Look at datasets, jobs and models.",
  forecast: "Ask for forecasts.",
  data: "Upload, append and delete data.",
  jobs: "Start and stop jobs.",
  models: "Promote model versions.",
  audit: "Read the audit trail.",
};
const NAMES = Object.entries(SCOPES) as [Scope, string][];

interface ScopeChoicesProps {
  chosen?: readonly Scope[];
  error?: string;
}

/** Checkboxes named `scope`. */
export function ScopeChoices({ chosen = ["read", "forecast"], error }: ScopeChoicesProps) {
  return (
    <fieldset>
      <legend>What it may do at most</legend>
      <div className="choices tight">
        {NAMES.map(([scope, ability]) => (
          <label key={scope} className="choice">
            <input type="checkbox" name="scope" value={scope} defaultChecked={chosen.includes(scope)} />
            <span>
              <b>{scope}</b>
              <small>{ability}</small>
            </span>
          </label>
        ))}
      </div>
      {error && (
        <p className="field-error" role="alert">
          {error}
        </p>
      )}
    </fieldset>
  );
}

export const scopesOf = (form: FormData) => form.getAll("scope") as Scope[];

export function ScopeBadges({ scopes }: { scopes: readonly Scope[] }) {
  return (
    <span className="badges">
      {NAMES.filter(([scope]) => scopes.includes(scope)).map(([scope]) => (
        <Badge key={scope}>{scope}</Badge>
      ))}
    </span>
  );
}
