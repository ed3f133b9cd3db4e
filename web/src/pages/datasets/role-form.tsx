import type { ColumnChoice, ColumnRole } from "../../lib/roles";

const ROLES: [ColumnRole, string][] = [
  ["futr_exog", "Known in advance"],
  ["hist_exog", "Observed"],
  ["stat_exog", "Fixed per series"],
  ["ignore", "Ignore"],
];

interface RoleFormProps {
  choices: ColumnChoice[];
  onChange: (choices: ColumnChoice[]) => void;
  disabled?: boolean;
}

/** Table that gives each covariate a role and marks the categories. */
export function RoleForm({ choices, onChange, disabled }: RoleFormProps) {
  if (choices.length === 0) {
    return <p className="card-body muted">No covariates: the file holds only unique_id, ds and y.</p>;
  }
  const change = (column: string, part: Partial<ColumnChoice>) =>
    onChange(choices.map((choice) => (choice.column === column ? { ...choice, ...part } : choice)));
  return (
    <div className="scroll">
      <table className="table roles">
        <caption className="sr-only">Role of each column</caption>
        <thead>
          <tr>
            <th scope="col">Column</th>
            <th scope="col">Type</th>
            <th scope="col">Role</th>
            <th scope="col">Category</th>
          </tr>
        </thead>
        <tbody>
          {choices.map((choice) => (
            <tr key={choice.column}>
              <th scope="row">
                <code>{choice.column}</code>
              </th>
              <td className="muted">{choice.type}</td>
              <td>
                <fieldset className="segments" disabled={disabled}>
                  <legend className="sr-only">Role of {choice.column}</legend>
                  {ROLES.map(([role, name]) => (
                    <label key={role}>
                      <input
                        type="radio"
                        name={`role-${choice.column}`}
                        checked={choice.role === role}
                        onChange={() => change(choice.column, { role })}
                      />
                      {name}
                    </label>
                  ))}
                </fieldset>
              </td>
              <td>
                <input
                  type="checkbox"
                  aria-label={`${choice.column} is a category`}
                  checked={choice.categorical && choice.role !== "ignore"}
                  disabled={disabled || choice.role === "ignore"}
                  onChange={(e) => change(choice.column, { categorical: e.target.checked })}
                />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
