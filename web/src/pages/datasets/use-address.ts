import { useSearchParams } from "react-router";

/** Parts of an address by name; null or an empty text takes a part away. */
type Parts = Record<string, string | null>;

/** Parameters of the address, and a way to change parts of them. */
export function useAddress() {
  const [params, setParams] = useSearchParams();
  const change = (parts: Parts, replace = true) =>
    setParams((current) => merge(current, parts), { replace, preventScrollReset: true });
  return { params, change };
}

/** Return the address with parts changed, as a link. */
export const addressWith = (params: URLSearchParams, parts: Parts): string => `?${merge(params, parts)}`;

function merge(params: URLSearchParams, parts: Parts): URLSearchParams {
  const merged = new URLSearchParams(params);
  for (const [name, value] of Object.entries(parts)) {
    if (value === null || value === "") merged.delete(name);
    else merged.set(name, value);
  }
  return merged;
}

/** Return the version that the address pins, if any. */
export function pinnedIn(params: URLSearchParams): number | undefined {
  const number = Number(params.get("version"));
  return Number.isInteger(number) && number > 0 ? number : undefined;
}
