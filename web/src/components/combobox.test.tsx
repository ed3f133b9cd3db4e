import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useState } from "react";
import { expect, test } from "vitest";
import { Combobox } from "./combobox";

const ALL = ["JFK/B6", "JFK/DL", "EWR/UA", "EWR/EV"];

function Example() {
  const [value, setValue] = useState("JFK/B6");
  const [search, setSearch] = useState("");
  const options = ALL.filter((id) => id.toLowerCase().includes(search.toLowerCase())).map((id) => ({
    value: id,
  }));
  return (
    <>
      <Combobox label="Series" value={value} options={options} onSearch={setSearch} onSelect={setValue} />
      <p>chosen {value}</p>
    </>
  );
}

test("when only the keyboard is used, then a series is searched, walked to and chosen", async () => {
  const user = userEvent.setup();
  render(<Example />);
  await user.tab();
  const field = screen.getByRole("combobox", { name: "Series" });
  expect(field).toHaveFocus();
  await user.keyboard("ewr");
  expect(screen.getAllByRole("option").map((option) => option.textContent)).toEqual(["EWR/UA", "EWR/EV"]);
  await user.keyboard("{ArrowDown}");
  expect(document.getElementById(field.getAttribute("aria-activedescendant") ?? "")).toHaveTextContent(
    "EWR/EV",
  );
  await user.keyboard("{Enter}");
  expect(screen.getByText("chosen EWR/EV")).toBeInTheDocument();
  expect(screen.queryByRole("listbox")).not.toBeInTheDocument();
});

test("when Escape is pressed, then the list closes and the choice stays", async () => {
  const user = userEvent.setup();
  render(<Example />);
  await user.click(screen.getByRole("combobox"));
  await user.keyboard("zzz");
  expect(screen.getByText("Nothing matches.")).toBeInTheDocument();
  await user.keyboard("{Escape}");
  expect(screen.getByRole("combobox")).toHaveValue("JFK/B6");
  expect(screen.getByText("chosen JFK/B6")).toBeInTheDocument();
});
