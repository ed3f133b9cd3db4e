import { expect, test } from "vitest";
import { toCsv } from "./csv";

test.each([
  ["=1+1", `"'=1+1"`],
  ["+1", `"'+1"`],
  ["-cmd|' /C calc'!A0", `"'-cmd|' /C calc'!A0"`],
  ["@SUM(A1)", `"'@SUM(A1)"`],
  ["\t=1", `"'\t=1"`],
  ["＝1+1", `"'＝1+1"`],
  ["＋1", `"'＋1"`],
  ["－1", `"'－1"`],
  ["＠SUM(A1)", `"'＠SUM(A1)"`],
  ["﹦1", `"'﹦1"`],
  ["−2+3", `"'−2+3"`],
  [" =1+1", `"' =1+1"`],
  ["\u00a0@SUM(A1)", `"'\u00a0@SUM(A1)"`],
  ["\u200b\ufeff=1", `"'\u200b\ufeff=1"`],
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

test("when a text holds a separator of another country, then it stays one cell", () => {
  expect(toCsv(["id"], [["a;=1+1"]])).toBe('id\r\n"a;=1+1"\r\n');
});
