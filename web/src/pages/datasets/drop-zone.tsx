import { type DragEvent, useId, useState } from "react";
import { Icon } from "../../components/icons";
import { formatCount } from "../../lib/format";

interface DropZoneProps {
  file: File | null;
  busy: boolean;
  onFile: (file: File) => void;
}

/** File field on which a file can also be dropped. */
export function DropZone({ file, busy, onFile }: DropZoneProps) {
  const id = useId();
  const [over, setOver] = useState(false);
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    const dropped = event.dataTransfer.files[0];
    if (dropped) onFile(dropped);
  };
  return (
    <label
      htmlFor={id}
      className={over ? "drop over" : "drop"}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={drop}
    >
      <input
        id={id}
        type="file"
        className="sr-only"
        accept=".csv,.tsv,.txt,.json,.parquet,.arrow,.arrows,.gz,.zst,text/csv"
        onChange={(event) => {
          const chosen = event.target.files?.[0];
          if (chosen) onFile(chosen);
          event.target.value = "";
        }}
      />
      <Icon name="upload" />
      <span>
        <b>{file ? file.name : "Choose a file"}</b>
        <small>
          {busy
            ? "Checking…"
            : file
              ? `${formatCount(Math.ceil(file.size / 1024))} kB. Choose another to replace it.`
              : "or drop it here: CSV, Parquet, Arrow or JSON, also packed, with the columns unique_id, ds, y and covariates."}
        </small>
      </span>
    </label>
  );
}
