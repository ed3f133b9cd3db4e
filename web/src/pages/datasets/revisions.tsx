import { useQuery } from "@tanstack/react-query";
import { revisionsOf } from "../../api/queries";
import type { Revision } from "../../api/types";
import { Button } from "../../components/basics";
import { formatCount, plural } from "../../lib/format";
import { formatDate, formatDateTime } from "../../lib/time";
import type { AsOfState } from "./use-as-of";

/** Corrections that fit beside each other; the earlier ones are only counted. */
const MAX_SHOWN = 6;

interface RevisionsProps {
  dataset: string;
  series: string;
  state: AsOfState;
}

/** Corrections of the series; each leads to the time at which it became known. */
export function Revisions({ dataset, series, state }: RevisionsProps) {
  const version = state.pinned ? state.version.number : undefined;
  const { data } = useQuery({ ...revisionsOf(dataset, series, version), enabled: series !== "" });
  if (!data?.length) return null;
  const shown = data.slice(-MAX_SHOWN);
  const left = data.length - shown.length;
  return (
    <section className="revisions" aria-label="Corrections of this series">
      <span>Corrected{left > 0 && ` ${formatCount(left)} times before, then`}</span>
      {shown.map((revision) => {
        // The address holds whole seconds; the next one after is when it was known for sure.
        const time = Math.ceil(Date.parse(revision.known_at) / 1000) * 1000;
        return (
          <Button
            key={revision.known_at + revision.group}
            small
            variant={state.requested === time ? "primary" : "ghost"}
            title={`${revisionText(revision)}, known since ${formatDateTime(revision.known_at)} UTC`}
            onClick={() => state.setTime(time)}
          >
            {formatDate(revision.known_at)} <small>{formatCount(revision.values)}</small>
          </Button>
        );
      })}
    </section>
  );
}

/** `3 values of 1 Jan 2024 to 5 Jan 2024, known in advance` */
function revisionText({ values, first_ds, last_ds, group }: Revision): string {
  const until = values > 1 ? ` to ${formatDate(last_ds)}` : "";
  const advance = group === "future" ? ", known in advance" : "";
  return `${plural(values, "value")} of ${formatDate(first_ds)}${until}${advance}`;
}
