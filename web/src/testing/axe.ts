import axe from "axe-core";
import { expect } from "vitest";

/** Check what axe can judge without a layout: names, roles, labels, tables. */
export async function expectAccessible(): Promise<void> {
  const off = { enabled: false };
  const rules = { "color-contrast": off, region: off, "page-has-heading-one": off, "landmark-one-main": off };
  const { violations } = await axe.run(document.body, { rules });
  expect(violations.map((v) => `${v.id}: ${v.nodes.map((node) => node.html).join(" ")}`)).toEqual([]);
}
