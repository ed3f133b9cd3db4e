import { useQuery } from "@tanstack/react-query";
import { revisionsOf } from "../../api/queries";
import { Button } from "../../components/basics";
import { formatCount, plural } from "../../lib/format";
import { formatDate, formatMoment } from "../../lib/time";
import type { Known } from "./use-as-of";

/** As many as fit beside each other; the others are reached through the first and the last. */
const MOST = 6;

/** When values of the series were corrected; each is a way to the moment at which it became known. */
export function Revisions({ dataset, series, known }: { dataset: string; series: string; known: Known }) {
  const version = known.pinned ? known.version.number : undefined;
  const { data } = useQuery({ ...revisionsOf(dataset, series, version), enabled: series !== "" });
  if (!data?.length) return null;
  const shown = data.slice(-MOST);
  const left = data.length - shown.length;
  return (
    <section className="revisions" aria-label="Corrections of this series">
      <span>Corrected{left > 0 && ` ${formatCount(left)} times before, then`}</span>
      {shown.map((one) => {
        // The address holds whole seconds; the next one after is when it was known for sure.
        const time = Math.ceil(Date.parse(one.known_at) / 1000) * 1000;
        const what = `${plural(one.values, "value")} of ${formatDate(one.first_ds)}${
          one.values > 1 ? ` to ${formatDate(one.last_ds)}` : ""
        }${one.group === "future" ? ", known in advance" : ""}`;
        return (
          <Button
            key={one.known_at + one.group}
            small
            variant={known.asked === time ? "primary" : "ghost"}
            title={`${what}, known since ${formatMoment(one.known_at)} UTC`}
            onClick={() => known.setTime(time)}
          >
            {formatDate(one.known_at)} <small>{formatCount(one.values)}</small>
          </Button>
        );
      })}
    </section>
  );
}
