import { expect, test } from "vitest";
import { toCsv } from "./csv";

test.each([
  ["=1+1", `"'=1+1"`],
  ["+1", `"'+1"`],
  ["-cmd|' /C calc'!A0", `"'-cmd|' /C calc'!A0"`],
  ["@SUM(A1)", `"'@SUM(A1)"`],
  ["\t=1", `"'\t=1"`],
  ['=HYPERLINK("http://evil")', `"'=HYPERLINK(""http://evil"")"`],
])(
  "when a text looks like the formula %s, then a spreadsheet shows it and does not run it",
  (cell, written) => {
    expect(toCsv(["id"], [[cell]])).toBe(`id\r\n${written}\r\n`);
  },
);

test("when cells are plain, then numbers stay numbers and quotes are doubled", () => {
  const rows = [
    ["JFK/B6", -1.5, null],
    ['a "b", c', 2, "x\ny"],
  ];
  expect(toCsv(["id", "y", "z"], rows)).toBe('id,y,z\r\nJFK/B6,-1.5,\r\n"a ""b"", c",2,"x\ny"\r\n');
});
