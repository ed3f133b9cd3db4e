import { useInfiniteQuery } from "@tanstack/react-query";
import { useDeferredValue, useState } from "react";
import { seriesPages } from "../../api/queries";
import { pinnedIn, useAddress } from "./use-address";

/** Series that the page shows, with a search among those that can be chosen instead. */
export function useSeries(dataset: string) {
  const { params } = useAddress();
  const [search, setSearch] = useState("");
  const version = pinnedIn(params);
  const all = useInfiniteQuery(seriesPages(dataset, "", version));
  const pages = useInfiniteQuery(seriesPages(dataset, useDeferredValue(search), version));
  const items = pages.data?.pages.flatMap((page) => page.items) ?? [];
  return {
    pages,
    setSearch,
    series: params.get("series") ?? all.data?.pages[0]?.items[0]?.unique_id ?? "",
    options: items.map((item) => ({
      value: item.unique_id,
      note: Object.values(item.static).slice(0, 2).join(" · "),
    })),
    more: () => {
      if (pages.hasNextPage && !pages.isFetchingNextPage) pages.fetchNextPage();
    },
  };
}

export type SeriesChoice = ReturnType<typeof useSeries>;
