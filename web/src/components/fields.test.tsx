import { render, screen } from "@testing-library/react";
import { expect, test } from "vitest";
import { expectAccessible } from "../testing/axe";
import { NameField, NumberField, SelectField, TextField, TimeField } from "./fields";

test("when a field has a hint and an error, then both describe its control, and it is invalid", async () => {
  render(<NumberField label="Horizon" name="h" min={1} hint="Steps to forecast." error="At most 48." />);
  const input = screen.getByRole("spinbutton", { name: "Horizon" });
  expect(input).toHaveAccessibleDescription("Steps to forecast. At most 48.");
  expect(input).toBeInvalid();
  expect(screen.getByRole("alert")).toHaveTextContent("At most 48.");
  await expectAccessible();
});

test("when a field has neither, then nothing describes its control", () => {
  render(<TextField label="Who" />);
  expect(screen.getByRole("textbox", { name: "Who" })).not.toHaveAttribute("aria-describedby");
  expect(screen.getByRole("textbox")).toBeValid();
});

test("when an option has a label, then the label is shown and the value is sent", async () => {
  render(
    <form aria-label="Filters">
      <SelectField label="Outcome" name="outcome" options={[["", "any"], "done"]} defaultValue="" />
      <TimeField label="From (UTC)" name="since" defaultValue="2026-11-01T00:00" />
    </form>,
  );
  expect(screen.getByLabelText("Outcome")).toHaveDisplayValue("any");
  expect(screen.getByRole("form")).toHaveFormValues({ outcome: "", since: "2026-11-01T00:00" });
  await expectAccessible();
});

test("when a name is not one the API accepts, then the browser refuses it", () => {
  render(<NameField label="Name" defaultValue="No spaces" />);
  expect(screen.getByLabelText("Name")).toBeRequired();
  expect((screen.getByLabelText("Name") as HTMLInputElement).validity.patternMismatch).toBe(true);
});
