import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";

const MAX_LINES = 80;
/** Folders that pages build on, so that none of them may know a page. */
const SHARED = /^src\/(api|auth|charts|components|lib)\//;

interface Source {
  path: string;
  text: string;
}

/** List the components of a module that are too long: functions with JSX of their own. */
function longComponents({ path, text }: Source): string[] {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true, ts.ScriptKind.TSX);
  const lineOf = (position: number) => file.getLineAndCharacterOfPosition(position).line;
  const long: string[] = [];
  const visit = (node: ts.Node) => {
    if (ts.isFunctionLike(node) && hasOwnJsx(node)) {
      const lines = lineOf(node.end) - lineOf(node.getStart()) + 1;
      if (lines > MAX_LINES) long.push(`${path}:${lineOf(node.getStart()) + 1}: ${lines} lines`);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return long;
}

/** Tell whether a function holds JSX outside of the functions within it. */
function hasOwnJsx(node: ts.Node): boolean {
  const isJsx = (child: ts.Node): boolean =>
    ts.isJsxElement(child) || ts.isJsxSelfClosingElement(child) || ts.isJsxFragment(child);
  const search = (child: ts.Node): boolean =>
    isJsx(child) || (!ts.isFunctionLike(child) && (ts.forEachChild(child, search) ?? false));
  return ts.forEachChild(node, search) ?? false;
}

/** List the pages that a module of a shared folder imports. */
function importedPages({ path, text }: Source): string[] {
  if (!SHARED.test(path)) return [];
  return ts
    .preProcessFile(text)
    .importedFiles.map(({ fileName }) => posix.join(posix.dirname(path), fileName))
    .filter((target) => target.startsWith("src/pages/"))
    .map((target) => `${path} imports ${target}`);
}

function readSources(): Source[] {
  return readdirSync("src", { recursive: true, encoding: "utf8" })
    .map((name) => posix.join("src", name.replaceAll("\\", "/")))
    .filter((path) => /\.tsx?$/.test(path) && !/\.(test|d)\.tsx?$/.test(path))
    .map((path) => ({ path, text: readFileSync(path, "utf8") }));
}

test("when the modules are read, then no component is too long and no shared folder imports a page", () => {
  const sources = readSources();
  expect(sources.length).toBeGreaterThan(100);
  expect(sources.flatMap(longComponents)).toEqual([]);
  expect(sources.flatMap(importedPages)).toEqual([]);
});

describe("a component", () => {
  const body = (lines: number) => `{\n${"  step();\n".repeat(lines - 3)}  return <p>text</p>;\n}`;

  test.each([
    ["a function", `export function Long() ${body(81)}`],
    ["an arrow function", `const Long = () => ${body(81)};`],
    ["a function expression", `const Long = memo(function Long() ${body(81)});`],
  ])("when it is %s of 81 lines, then the check names it", (_, text) => {
    expect(longComponents({ path: "src/pages/long.tsx", text })).toEqual(["src/pages/long.tsx:1: 81 lines"]);
  });

  test.each([
    ["it has 80 lines", `export function Long() ${body(80)}`],
    ["a function is long and without JSX", `function long() ${body(200).replace("<p>text</p>", "1")}`],
    ["a long hook holds a short one", `function useLong() {\n${"\n".repeat(90)}return () => <p />;\n}`],
  ])("when %s, then the check is silent", (_, text) => {
    expect(longComponents({ path: "src/pages/long.tsx", text })).toEqual([]);
  });
});

describe("a shared module", () => {
  test.each([
    ["imports a value of a page", 'import { view } from "../pages/explorer/view";'],
    ["imports a type of a page", 'import type { View } from "../pages/explorer/view";'],
    ["exports from a page", 'export * from "../pages/explorer/view";'],
    ["loads a page", 'const page = () => import("../pages/explorer/view");'],
    ["names a page's type in place", 'let view: import("../pages/explorer/view").View;'],
  ])("when it %s, then the check names it", (_, text) => {
    expect(importedPages({ path: "src/charts/fan.tsx", text })).toEqual([
      "src/charts/fan.tsx imports src/pages/explorer/view",
    ]);
  });

  test.each([
    ["src/charts/fan.tsx", 'import { view } from "../lib/forecast-view"; import "chart.js";'],
    ["src/pages/models/policy.tsx", 'import { trafficText } from "../approvals/labels";'],
    ["src/api/notes.ts", '// import { view } from "../pages/explorer/view";'],
  ])("when %s imports what it may, then the check is silent", (path, text) => {
    expect(importedPages({ path, text })).toEqual([]);
  });
});
