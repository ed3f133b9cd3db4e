import { useState } from "react";
import type { Role } from "../api/types";
import { ROLE_ABILITIES, ROLES } from "../lib/roles";
import { SelectField } from "./fields";

/** Control named `role`, with the abilities of the chosen role as its hint. */
export function RoleField({ initial = "viewer" }: { initial?: Role }) {
  const [role, setRole] = useState<Role>(initial);
  return (
    <SelectField
      label="Role"
      hint={ROLE_ABILITIES[role]}
      name="role"
      value={role}
      options={ROLES}
      onChange={(event) => setRole(event.target.value as Role)}
    />
  );
}
