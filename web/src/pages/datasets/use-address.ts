import { useSearchParams } from "react-router";

/** What the address says, and a way to change parts of it; null takes a part away. */
export function useAddress() {
  const [params, setParams] = useSearchParams();
  const change = (parts: Record<string, string | null>, replace = true) =>
    setParams(
      (before) => {
        const after = new URLSearchParams(before);
        for (const [name, value] of Object.entries(parts)) {
          if (value === null || value === "") after.delete(name);
          else after.set(name, value);
        }
        return after;
      },
      { replace, preventScrollReset: true },
    );
  return { params, change };
}

/** The version that the address pins, if any. */
export function pinnedIn(params: URLSearchParams): number | undefined {
  const number = Number(params.get("version"));
  return Number.isInteger(number) && number > 0 ? number : undefined;
}
