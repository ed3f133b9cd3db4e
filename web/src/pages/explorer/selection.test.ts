import { expect, test } from "vitest";
import type { Dataset, DatasetVersion, Model, ModelVersion } from "../../api/types";
import { defaultAsOf, hasLearned, modelOptions } from "./selection";

const version = { last_ds: "2014-01-01T04:00:00Z", freq: "h" } as DatasetVersion;
const dataset = { publication_lag: "PT1H" } as Dataset;

test("when a dataset has ended, then the explorer opens where its last value is known: the forecast follows it", () => {
  expect(defaultAsOf(dataset, version, Date.UTC(2026, 0, 1))).toBe("2014-01-01T05:00:00Z");
  expect(defaultAsOf(dataset, { ...version, freq: "MS" }, Date.UTC(2026, 0, 1))).toBe("2014-01-01T05:00:00Z");
  const late = { ...version, last_ds: "2014-01-01T04:31:00Z" };
  expect(defaultAsOf(dataset, late, Date.UTC(2026, 0, 1))).toBe("2014-01-01T06:00:00Z");
});

test("when a dataset still grows, then the explorer opens at the present hour", () => {
  expect(defaultAsOf(dataset, version, Date.UTC(2014, 0, 1, 6, 25))).toBe("2014-01-01T06:00:00Z");
});

test("when the last value became known within this hour, then the explorer opens now and has it", () => {
  const late = { ...version, last_ds: "2014-01-01T05:10:00Z" };
  expect(defaultAsOf(dataset, late, Date.UTC(2014, 0, 1, 6, 25))).toBe("2014-01-01T06:25:00Z");
});

test("when an origin is before the version's own as-of, then it has learned from the days that followed", () => {
  const trained = { as_of: "2014-01-01T05:00:00Z" } as ModelVersion;
  expect(hasLearned("2014-01-01T04:59:59Z", trained)).toBe(true);
  expect(hasLearned("2014-01-01T06:00:00+01:00", trained)).toBe(false);
  expect(hasLearned("2014-01-01T05:00:00Z", trained)).toBe(false);
  expect(hasLearned("2014-01-01T05:00:00Z", undefined)).toBeUndefined();
  expect(hasLearned("2014-01-01T05:00:00Z", { as_of: null } as unknown as ModelVersion)).toBeUndefined();
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
