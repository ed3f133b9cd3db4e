import { useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useNavigate } from "react-router";
import { unwrap } from "../api/problem";
import type { Role } from "../api/types";
import { useMay } from "../auth/use-session";
import { Confirm } from "./confirm";

interface DeleteProps {
  /** Name of the thing, such as "the dataset flights". */
  title: string;
  /** Lowest role that may. */
  minimum: Role;
  run: () => Parameters<typeof unwrap>[0];
  /** Key of the queries that list it. */
  listed: readonly string[];
  /** Page to go to afterwards; stays where it is when absent. */
  to?: string;
  /** Texts of the buttons. */
  button?: string;
  action?: string;
  children: ReactNode;
}

/** Button that deletes something for good, after a dialog that names it; for those who may. */
export function Delete({ title, minimum, run, listed, to, button, action, children }: DeleteProps) {
  const may = useMay(minimum);
  const client = useQueryClient();
  const navigate = useNavigate();
  if (!may) return null;
  const remove = async () => {
    await unwrap(run());
    if (to) navigate(to);
    await client.invalidateQueries({ queryKey: listed });
  };
  const verb = button ?? "Delete";
  return (
    <Confirm
      button={verb}
      label={`${verb} ${title}`}
      title={`${verb} ${title}?`}
      action={action ?? "Delete it for good"}
      keep="Keep it"
      run={remove}
      danger
    >
      {children}
    </Confirm>
  );
}
