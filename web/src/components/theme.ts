import { useSyncExternalStore } from "react";

export type Theme = "light" | "dark";

/** Theme of the system, in use until somebody chooses; the choice lasts as long as the page. */
const system = () => matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();
let chosen: Theme | null = null;

const current = (): Theme => chosen ?? (system().matches ? "dark" : "light");

function apply(): void {
  document.documentElement.dataset.theme = current();
  for (const listener of listeners) listener();
}

export function startTheme(): void {
  system().addEventListener("change", apply);
  apply();
}

export function toggleTheme(): void {
  chosen = current() === "dark" ? "light" : "dark";
  apply();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const useTheme = (): Theme => useSyncExternalStore(subscribe, current);
