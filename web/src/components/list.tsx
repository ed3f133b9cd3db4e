import type { ReactNode } from "react";
import { Button, Card, LoadingRows } from "./basics";
import { ProblemView } from "./feedback";

/** Heading of a column; `num` stands right, `hidden` is only read aloud. */
export type Head = string | { name: string; num?: boolean; hidden?: boolean };

interface TableProps {
  caption: string;
  heads: readonly Head[];
  children: ReactNode;
}

export function Table({ caption, heads, children }: TableProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable region must be reachable by keyboard
    <section className="scroll" aria-label={caption} tabIndex={0}>
      <table className="table">
        <caption className="sr-only">{caption}</caption>
        <thead>
          <tr>
            {heads.map((head) => {
              const { name, num, hidden } = typeof head === "string" ? { name: head } : { ...head };
              return (
                <th key={name} scope="col" className={num ? "num" : undefined}>
                  {hidden ? <span className="sr-only">{name}</span> : name}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </section>
  );
}

/** Part of a query that a list needs; plain and infinite queries have it. */
interface ListQuery {
  error: unknown;
  isPending: boolean;
  refetch: () => unknown;
  hasNextPage?: boolean;
  isFetchingNextPage?: boolean;
  fetchNextPage?: () => unknown;
}

interface ListCardProps<T> extends Omit<TableProps, "children"> {
  query: ListQuery;
  items: readonly T[] | undefined;
  /** Shown instead of the table when there is nothing. */
  empty: ReactNode;
  /** Text of the button that fetches the next page. */
  more?: string;
  title?: ReactNode;
  actions?: ReactNode;
  /** Filters above the table. */
  head?: ReactNode;
  children: (item: T) => ReactNode;
}

/** Frame of every list: error, loading state, empty state, table, and further rows on demand. */
export function ListCard<T>(props: ListCardProps<T>) {
  const { query, items, empty, more, title, actions, head, children, ...table } = props;
  return (
    <>
      {Boolean(query.error) && <ProblemView error={query.error} retry={() => query.refetch()} />}
      <Card flush title={title} actions={actions}>
        {head}
        {query.isPending && <LoadingRows />}
        {items?.length === 0 && empty}
        {items && items.length > 0 && <Table {...table}>{items.map(children)}</Table>}
        {query.hasNextPage && (
          <div className="card-body">
            <Button disabled={query.isFetchingNextPage} onClick={() => query.fetchNextPage?.()}>
              {more ?? "Show more"}
            </Button>
          </div>
        )}
      </Card>
    </>
  );
}
