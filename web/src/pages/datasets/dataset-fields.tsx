import { Field, NameField, TextField } from "../../components/fields";

interface DatasetFieldsProps {
  /** Suggested name. */
  name: string;
  /** Frequency that the file shows. */
  freq: string | null;
  freqRequired: boolean;
}

/** Declaration of a new dataset, apart from its columns. */
export function DatasetFields({ name, freq, freqRequired }: DatasetFieldsProps) {
  return (
    <div className="form-grid">
      <NameField label="Name" hint="Lower case; it stays." name="name" defaultValue={name} />
      <TextField
        label="Frequency"
        hint={freqRequired ? "The file does not show it: h, D, W, MS, 15min …" : "h, D, W, MS, 15min …"}
        name="freq"
        defaultValue={freq ?? ""}
        placeholder={freqRequired ? "declare it" : "found out"}
        required={freqRequired}
      />
      <LagField />
      <TextField
        label="Time zone"
        hint="The zone its calendar is meant in."
        name="time-zone"
        defaultValue="UTC"
      />
      <TextField
        label="Holidays"
        hint="Country code, such as US."
        name="holidays"
        placeholder="none"
        maxLength={2}
      />
      <TextField label="Description" name="description" maxLength={2000} />
    </div>
  );
}

/** Number and unit of the publication lag. */
function LagField() {
  return (
    <Field label="Publication lag" hint="How long after its time a value becomes known.">
      {(control) => (
        <span className="joined">
          <input {...control} name="lag" className="input" type="number" min={0} defaultValue={0} />
          <select name="lag-unit" className="input" aria-label="Unit of the publication lag">
            <option>hours</option>
            <option>days</option>
          </select>
        </span>
      )}
    </Field>
  );
}
