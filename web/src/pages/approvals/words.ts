import type { Approval, Policy } from "../../api/types";

export const POLICY_NAMES: Record<Policy, string> = { gate: "The gate alone", two_person: "Two people" };

/** `version 3 as champion, instead of 2` */
export function changeText(change: Approval["change"]): string {
  if (change.kind === "policy")
    return change.policy === "gate" ? "let the gate decide alone" : "let two people decide";
  const before = change.instead_of === null ? "" : `, instead of ${change.instead_of}`;
  return `version ${change.version} as ${change.alias}${before}`;
}
