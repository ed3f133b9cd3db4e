import { useInfiniteQuery } from "@tanstack/react-query";
import { useDeferredValue, useState } from "react";
import { seriesPages } from "../../api/queries";
import { pinnedIn, useAddress } from "./use-address";

/** Which series the page looks at, and what can be chosen instead. */
export function useSeries(dataset: string, enabled: boolean) {
  const { params } = useAddress();
  const [typed, setTyped] = useState("");
  const version = pinnedIn(params);
  const all = useInfiniteQuery({ ...seriesPages(dataset, "", version), enabled });
  const pages = useInfiniteQuery({
    ...seriesPages(dataset, useDeferredValue(typed), version),
    enabled,
  });
  const items = pages.data?.pages.flatMap((page) => page.items) ?? [];
  return {
    pages,
    setTyped,
    series: params.get("series") ?? all.data?.pages[0]?.items[0]?.unique_id ?? "",
    options: items.map((s) => ({
      value: s.unique_id,
      note: Object.values(s.static).slice(0, 2).join(" · "),
    })),
    more: () => {
      if (pages.hasNextPage && !pages.isFetchingNextPage) pages.fetchNextPage();
    },
  };
}

export type SeriesChoice = ReturnType<typeof useSeries>;
