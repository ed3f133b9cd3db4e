// What we knew when, in a real browser: a file with faults, its findings, a dataset, a correction that
// came later, and the as-of slider by keyboard.
//
//   node tests/browser/data.mjs BASE_URL LOGIN_FILE [--screenshot FILE.png]
//
// LOGIN_FILE is JSON with `user_name` and `password`. BASE_URL and LOGIN_FILE may be given as
// QUANTIS_URL and QUANTIS_LOGIN_FILE; CHROMIUM names the browser. Exit code 1 and a reason on failure.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { checkAccessible, checkDrawn, onPage, signIn } from "./steps.mjs";

const DAY = 86_400_000;
const FIRST = Date.UTC(2024, 0, 1);
const DAYS = 60;
/** The 41st day was 40 until, ten days later, it was corrected to 90. */
const [CORRECTED, KNOWN] = [40, 50];

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { screenshot: { type: "string" } },
});
const base = positionals[0] ?? process.env.QUANTIS_URL;
const loginFile = positionals[1] ?? process.env.QUANTIS_LOGIN_FILE;
const dataset = `when-${Date.now().toString(36)}`;
const iso = (day) => new Date(FIRST + day * DAY).toISOString().replace(".000", "");

/** Two shops by day; `conflict` gives one day two values, which no panel may. */
function csv({ conflict }) {
  const lines = ["unique_id,ds,y,known_at"];
  for (let day = 0; day < DAYS; day += 1) {
    lines.push(`north,${iso(day)},${day},${iso(day)}`);
    if (day !== 20) lines.push(`south,${iso(day)},${day % 7},${iso(day)}`); // a gap
  }
  lines.push(`north,${iso(CORRECTED)},90,${iso(KNOWN)}`);
  lines.push(`south,${iso(5)},5,${iso(5)}`); // twice, alike
  if (conflict) lines.push(`south,${iso(6)},777,${iso(6)}`);
  return lines.join("\n");
}

const fileOf = (text) => ({ name: `${dataset}.csv`, mimeType: "text/csv", buffer: Buffer.from(text) });

const codesOn = (page) =>
  page
    .getByRole("table", { name: "Findings of the data check" })
    .locator("tbody code")
    .allInnerTexts();

/** A file that is rejected, then one that is accepted with warnings, and the dataset made from it. */
async function uploadFaults(page) {
  await page.goto(new URL("/datasets/new", base).href);
  await page.locator("input[type=file]").setInputFiles(fileOf(csv({ conflict: true })));
  await page.getByText("Rejected", { exact: true }).waitFor();
  const rejected = await codesOn(page);
  assert.ok(rejected.includes("D001"), `a conflicting duplicate is not named: ${rejected}`);
  assert.equal(await page.getByRole("button", { name: "Create and upload" }).count(), 0);

  await page.locator("input[type=file]").setInputFiles(fileOf(csv({ conflict: false })));
  await page.getByText("Accepted, with warnings").waitFor();
  const codes = await codesOn(page);
  assert.ok(codes.length > 0 && !codes.includes("D001"), `the findings of the second file: ${codes}`);
  await page.getByLabel("Name", { exact: true }).fill(dataset);
  await page.getByRole("button", { name: "Create and upload" }).click();
  await page.waitForURL(`**/datasets/${dataset}`);
  await page.getByText("Findings of the upload of v1").click();
  await page.getByRole("table", { name: "Findings of the data check" }).waitFor();
  assert.deepEqual(await codesOn(page), codes, "the dataset's page shows other findings");
  return codes;
}

async function rowsOf(table) {
  return table.locator("tbody tr").evaluateAll((rows) =>
    rows.map((row) => ({
      time: row.dataset.time,
      fate: row.dataset.fate,
      was: row.querySelector("[data-column=then]").innerText,
      is: row.querySelector("[data-column=now]").innerText,
    })),
  );
}

/** The slider by keyboard: the table holds what was known at each stop, and no more. */
async function checkSlider(page) {
  await page.goto(new URL(`/datasets/${dataset}?series=north&as_of=${iso(KNOWN - 1)}`, base).href);
  const table = page.getByTestId("as-of-table");
  await table.waitFor();
  const before = await rowsOf(table);
  assert.equal(before.length, KNOWN, "a row for each day until then");
  assert.equal(before[0].time, new Date(FIRST + (KNOWN - 1) * DAY).toISOString());
  assert.deepEqual(
    before.filter((row) => row.fate !== "same").map(({ fate, was, is }) => [fate, was, is]),
    [["changed", "40.00", "90.00"]],
  );

  await page.getByRole("region", { name: "Corrections of this series" }).getByRole("button").click();
  await page.waitForURL((url) => Date.parse(url.searchParams.get("as_of")) === FIRST + KNOWN * DAY);
  await page.getByRole("radio", { name: "Changed 0" }).waitFor();
  await page.goto(new URL(`/datasets/${dataset}?series=north&as_of=${iso(KNOWN - 1)}`, base).href);
  await page.getByRole("radio", { name: "Changed 1" }).waitFor();

  const slider = page.getByRole("slider", { name: "As of" });
  await slider.focus();
  await page.keyboard.press("ArrowRight");
  await page.waitForURL((url) => url.searchParams.get("as_of") === iso(KNOWN));
  await page.getByRole("radio", { name: "Changed 0" }).waitFor();
  const after = await rowsOf(table);
  assert.equal(after.length, KNOWN + 1);
  assert.equal(after.find((row) => row.time === new Date(FIRST + CORRECTED * DAY).toISOString()).was, "90.00");

  await page.keyboard.press("PageDown");
  await page.getByRole("radio", { name: `Known then ${KNOWN - 6}` }).waitFor();
  await page.keyboard.press("Home");
  await page.getByRole("radio", { name: "Known then 1" }).waitFor();
  assert.equal((await rowsOf(table)).length, 1);
  await page.keyboard.press("End");
  await page.getByRole("radio", { name: `Known then ${DAYS}` }).waitFor();
  assert.equal(await slider.getAttribute("aria-valuetext"), "now");
}

/** A value corrected and a series deleted here are new versions; what was known before stays readable. */
async function checkChanges(page) {
  await page.goto(new URL(`/datasets/${dataset}?series=south&as_of=${iso(10)}`, base).href);
  await page.getByRole("button", { name: "Correct Wed 3 Jan 2024" }).click();
  await page.getByLabel("Value", { exact: true }).fill("77");
  await page.getByRole("button", { name: "Store the correction" }).click();
  await page.getByText("Version 2 holds the correction").waitFor();
  await page.getByRole("radio", { name: "Changed 1" }).check({ force: true });
  const [row] = await rowsOf(page.getByTestId("as-of-table"));
  assert.deepEqual([row.was, row.is], ["2.00", "77.00"]);

  await page.getByRole("button", { name: "Delete series" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete the series" }).click();
  await page.getByText("south is deleted now").waitFor();
  await page.getByRole("radio", { name: "Gone 11" }).waitFor();
  await page.getByRole("button", { name: "Restore it" }).click();
  await page.getByRole("radio", { name: "Gone 0" }).waitFor();
  await page.getByRole("link", { name: "v1", exact: true }).click();
  await page.waitForURL((url) => url.searchParams.get("version") === "1");
  await page.getByRole("radio", { name: "Changed 0" }).waitFor();
}

/** Nothing sticks out of a phone's screen, and the dark theme reads as well. */
async function checkNarrowAndDark(page) {
  await page.setViewportSize({ width: 390, height: 844 });
  await page.getByRole("button", { name: /dark/i }).click();
  await checkAccessible(page, "the dataset's page, dark, on a phone");
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 390, `the page is ${width} pixels wide on a phone`);
}

async function main() {
  assert.ok(base && loginFile, "usage: data.mjs BASE_URL LOGIN_FILE [options]");
  const login = JSON.parse(readFileSync(loginFile, "utf8"));
  await onPage({ viewport: { width: 1440, height: 1000 }, colorScheme: "light" }, async (page) => {
    const complaints = [];
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => {
      // Before anybody has signed in, the silent refresh is answered 401; the browser reports that itself.
      // Of a deleted series there is nothing now: 404, which the page says in words.
      const expected = /\/v1\/(oauth\/token$|datasets\/[^/]+\/series\/south)/;
      if (message.type() === "error" && !expected.test(message.location().url)) complaints.push(message.text());
    });

    await page.goto(new URL("/datasets", base).href);
    await signIn(page, login);
    const codes = await uploadFaults(page);
    await checkSlider(page);
    await checkChanges(page);
    await page.goto(new URL(`/datasets/${dataset}?series=north&as_of=${iso(KNOWN - 5)}&later=1`, base).href);
    await checkDrawn(page.getByRole("img", { name: /^north as known at/ }));
    await checkAccessible(page, "the dataset's page");
    if (options.screenshot) await page.screenshot({ path: options.screenshot });
    await checkNarrowAndDark(page);
    assert.deepEqual(complaints, [], "the console is not clean");
    console.log(`ok: ${dataset} with findings ${[...new Set(codes)].join(", ")}; the slider moves the table`);
  });
}

main().catch((error) => {
  console.error(`data.mjs: ${error.message}`);
  process.exitCode = 1;
});
