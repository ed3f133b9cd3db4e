import { useState } from "react";
import type { Role } from "../api/types";
import { MAY, ROLES } from "../lib/roles";
import { Field } from "./basics";

/** A choice of role named `role`, which says what it lets one do. */
export function RoleField({ initial = "viewer" }: { initial?: Role }) {
  const [role, setRole] = useState<Role>(initial);
  return (
    <Field label="Role" hint={MAY[role]}>
      {(id, d) => (
        <select
          id={id}
          aria-describedby={d}
          name="role"
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
  );
}
