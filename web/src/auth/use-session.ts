import { useQuery } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { me } from "../api/queries";
import type { Role, User } from "../api/types";
import { allows } from "../lib/roles";
import { type SessionStatus, session } from "./session";

export const useSessionStatus = (): SessionStatus =>
  useSyncExternalStore(session.subscribe, () => session.status);

export function useUser(): User | undefined {
  return useQuery({ ...me, enabled: useSessionStatus() === "in" }).data;
}

/** Tell whether the user has this role or a higher one. The server decides; this only shows it early. */
export const useMay = (least: Role): boolean => allows(useUser()?.role, least);
