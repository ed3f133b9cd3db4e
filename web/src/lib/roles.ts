import type { CheckReport, Role, Roles } from "../api/types";

/** Declarations that a column of a file may get. */
export type ColumnRole = "futr_exog" | "hist_exog" | "stat_exog" | "ignore";

export interface ColumnChoice {
  column: string;
  type: string;
  role: ColumnRole;
  categorical: boolean;
}

const RESERVED = new Set(["unique_id", "ds", "y", "known_at", "recorded_at", "cutoff"]);
const TEXT = /str|utf8|object|categor|bool/i;

/** Guess a role for each covariate: numbers are observed, text is fixed and a category. */
export function guessRoles(report: Pick<CheckReport, "columns">): ColumnChoice[] {
  return Object.entries(report.columns ?? {})
    .filter(([column]) => !RESERVED.has(column))
    .map(([column, type]) => {
      const text = TEXT.test(type);
      return { column, type, role: text ? "stat_exog" : "hist_exog", categorical: text };
    });
}

/** Turn the choices into a declaration; ignored columns have no role. */
export function rolesOf(choices: readonly ColumnChoice[]): Roles {
  const withRole = (role: ColumnRole) => choices.filter((c) => c.role === role).map((c) => c.column);
  return {
    futr_exog: withRole("futr_exog"),
    hist_exog: withRole("hist_exog"),
    stat_exog: withRole("stat_exog"),
    categorical: choices.filter((c) => c.categorical && c.role !== "ignore").map((c) => c.column),
  };
}

/** Derive a legal dataset name from a file name; `data` when nothing is left. */
export function nameFromFile(fileName: string): string {
  const stem = fileName.replace(/\.[^.]*$/, "").toLowerCase();
  const name = stem
    .replace(/[^a-z0-9_-]+/g, "-")
    .replace(/^[^a-z]+/, "")
    .replace(/-+$/, "");
  return name.slice(0, 63) || "data";
}

export const NAME_PATTERN = "[a-z][a-z0-9_\\-]{0,62}";

const ORDER: Role[] = ["viewer", "analyst", "ml_engineer", "admin"];

export const ROLE_NAMES: Record<Role, string> = {
  viewer: "Viewer",
  analyst: "Analyst",
  ml_engineer: "ML engineer",
  admin: "Admin",
};

/** Tell whether a role includes another; each includes the ones before it in `ORDER`. */
export const allows = (role: Role | undefined, least: Role) =>
  role !== undefined && ORDER.indexOf(role) >= ORDER.indexOf(least);

export const ROLES = Object.entries(ROLE_NAMES) as [Role, string][];

/** Abilities that each role adds to the one before it. */
export const ROLE_ABILITIES: Record<Role, string> = {
  viewer: "Looks, and asks for forecasts.",
  analyst: "Also uploads data, and runs backtests and batch forecasts.",
  ml_engineer: "Also trains, promotes, approves and stops jobs.",
  admin: "Also manages users and service accounts, and reads the audit trail.",
};
