import type { ReactNode } from "react";
import { Button, Card, LoadingRows } from "./basics";
import { ProblemView } from "./feedback";

/** A column's heading; `num` stands right, `hidden` is only read aloud. */
export type Head = string | { name: string; num?: boolean; hidden?: boolean };

interface TableProps {
  caption: string;
  heads: readonly Head[];
  children: ReactNode;
}

export function Table({ caption, heads, children }: TableProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must scroll by keyboard too
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

/** What a list needs of the query that it shows; both kinds of query have it. */
interface Asked {
  error: unknown;
  isPending: boolean;
  refetch: () => unknown;
  hasNextPage?: boolean;
  isFetchingNextPage?: boolean;
  fetchNextPage?: () => unknown;
}

interface ListCardProps<T> extends Omit<TableProps, "children"> {
  of: Asked;
  items: readonly T[] | undefined;
  /** Stands where the table would when there is nothing. */
  empty: ReactNode;
  /** On the button that fetches the next page. */
  more?: string;
  title?: ReactNode;
  actions?: ReactNode;
  /** Above the table: filters. */
  head?: ReactNode;
  children: (item: T) => ReactNode;
}

/** The frame of every list: an error, a loading state, an empty one, the table, and older rows on demand. */
export function ListCard<T>(props: ListCardProps<T>) {
  const { of, items, empty, more, title, actions, head, children, ...table } = props;
  return (
    <>
      {Boolean(of.error) && <ProblemView error={of.error} retry={() => of.refetch()} />}
      <Card flush title={title} actions={actions}>
        {head}
        {of.isPending && <LoadingRows />}
        {items?.length === 0 && empty}
        {items && items.length > 0 && <Table {...table}>{items.map(children)}</Table>}
        {of.hasNextPage && (
          <div className="card-body">
            <Button disabled={of.isFetchingNextPage} onClick={() => of.fetchNextPage?.()}>
              {more ?? "Show more"}
            </Button>
          </div>
        )}
      </Card>
    </>
  );
}
