import type { TftParams, TrainSpec } from "../../api/types";
import { parseField } from "../../lib/time";
import type { Budget } from "./budget";

interface TftField {
  name: keyof TftParams;
  label: string;
  min: number;
  max?: number;
  step?: string;
}

export const TFT_FIELDS: TftField[] = [
  { name: "steps", label: "Steps (the budget)", min: 1 },
  { name: "hidden_size", label: "Hidden size", min: 4, max: 512 },
  { name: "encoder_length", label: "Encoder length", min: 2, max: 4096 },
  { name: "batch_size", label: "Batch size", min: 1, max: 8192 },
  { name: "learning_rate", label: "Learning rate", min: 0.000001, max: 1, step: "any" },
  { name: "dropout", label: "Dropout", min: 0, max: 0.99, step: "any" },
  { name: "workers", label: "Workers", min: 1, max: 64 },
  { name: "seed", label: "Seed", min: 0 },
];

/** Name of a TFT parameter's control in the form. */
export const tftControl = (name: keyof TftParams) => `tft-${name}`;

/** Build the request; what is left empty stays out of it, since the platform knows its own defaults. */
export function trainSpec(form: FormData, dataset: string, { preset, families }: Budget): TrainSpec {
  const number = (name: string) => Number(form.get(name));
  const filled = TFT_FIELDS.map(({ name }) => name).filter((name) => form.get(tftControl(name)));
  const tft: TftParams = Object.fromEntries(filled.map((name) => [name, number(tftControl(name))]));
  return {
    kind: "train",
    dataset,
    model: String(form.get("model")),
    as_of: parseField(String(form.get("as-of"))),
    h: number("h"),
    ...(preset === "own" ? { families } : { preset }),
    ...(form.get("windows") && { n_windows: number("windows") }),
    ...(form.get("minutes") && { time_limit: `PT${number("minutes")}M` }),
    baselines: form.getAll("baseline").map(String),
    tft,
  };
}
