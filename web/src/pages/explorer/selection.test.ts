import { expect, test } from "vitest";
import type { Dataset, DatasetVersion, Model, ModelVersion } from "../../api/types";
import { defaultAsOf, modelOptions } from "./selection";

const version = { last_ds: "2014-01-01T04:00:00Z", freq: "h" } as DatasetVersion;
const dataset = { publication_lag: "PT1H" } as Dataset;

test("when a dataset has ended, then the explorer opens a week before its end became known", () => {
  expect(defaultAsOf(dataset, version, 24, Date.UTC(2026, 0, 1))).toBe("2013-12-25T05:00:00Z");
  expect(defaultAsOf(dataset, { ...version, freq: "MS" }, 12, Date.UTC(2026, 0, 1))).toBe(
    "2013-01-01T05:00:00Z",
  );
});

test("when a dataset still grows, then the explorer opens at the present hour", () => {
  expect(defaultAsOf(dataset, version, 24, Date.UTC(2014, 0, 1, 6, 25))).toBe("2014-01-01T06:00:00Z");
});

test("when a model has aliases, then the champion comes first and models of other datasets do not appear", () => {
  const models = [{ name: "demand" }, { name: "other" }] as Model[];
  const versions = [
    { model: "demand", version: 1, aliases: ["champion"], dataset: "flights" },
    { model: "demand", version: 2, aliases: ["candidate"], dataset: "flights" },
    { model: "other", version: 1, aliases: ["champion"], dataset: "co2" },
  ] as ModelVersion[];
  const refs = modelOptions(models, versions, "flights").map((option) => option.ref);
  expect(refs).toEqual(["demand", "demand@candidate", "demand:1", "demand:2"]);
});
