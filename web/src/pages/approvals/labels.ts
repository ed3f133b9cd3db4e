import type { Approval, Policy } from "../../api/types";

export const POLICY_NAMES: Record<Policy, string> = { gate: "The gate alone", two_person: "Two people" };

type Traffic = Extract<Approval["change"], { kind: "traffic" }>["traffic"];

/** Describe a division of traffic: `10 % to version 4, the rest to the champion`. */
export function trafficText({ shares }: Traffic): string {
  const rest = shares.reduce((left, share) => left - share.percent, 100);
  if (rest === 100) return "everything to the champion";
  const parts = shares.map((share) => `${share.percent} % to version ${share.version}`);
  return [...parts, ...(rest > 0 ? ["the rest to the champion"] : [])].join(", ");
}

/** Describe a change that was asked for: `version 3 as champion, instead of 2`. */
export function changeText(change: Approval["change"]): string {
  if (change.kind === "policy")
    return change.policy === "gate" ? "let the gate decide alone" : "let two people decide";
  if (change.kind === "traffic") return trafficText(change.traffic);
  const before = change.instead_of === null ? "" : `, instead of ${change.instead_of}`;
  return `version ${change.version} as ${change.alias}${before}`;
}
