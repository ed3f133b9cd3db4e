// A newcomer's way to a forecast, in a real browser: sign in, open the explorer, ask, and read the band.
//
//   node tests/browser/explorer.mjs BASE_URL LOGIN_FILE [--dataset flights] [--series JFK/B6]
//        [--model demand] [--as-of 2013-12-25T05:00:00Z] [--steps 24] [--screenshot FILE.png]
//
// LOGIN_FILE is JSON with `user_name` and `password`. BASE_URL and LOGIN_FILE may be given as
// QUANTIS_URL and QUANTIS_LOGIN_FILE; CHROMIUM names the browser. Exit code 1 and a reason on failure.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { checkAccessible, checkDrawn, onPage, signIn } from "./steps.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dataset: { type: "string", default: "flights" },
    series: { type: "string", default: "JFK/B6" },
    model: { type: "string", default: "demand" },
    "as-of": { type: "string" },
    steps: { type: "string", default: "24" },
    screenshot: { type: "string" },
  },
});
const base = positionals[0] ?? process.env.QUANTIS_URL;
const loginFile = positionals[1] ?? process.env.QUANTIS_LOGIN_FILE;
const steps = Number(options.steps);

function addressOf(path) {
  const address = new URL(path, base);
  const wanted = { dataset: options.dataset, series: options.series, model: options.model, as_of: options["as-of"] };
  for (const [name, value] of Object.entries(wanted)) if (value) address.searchParams.set(name, value);
  return address.href;
}

async function rowsOf(table) {
  return table.locator("tbody tr").evaluateAll((rows) =>
    rows.map((row) => ({
      time: row.dataset.time,
      ...Object.fromEntries(
        [...row.querySelectorAll("[data-column]")].map((cell) => [
          cell.dataset.column,
          cell.dataset.value === "" ? null : Number(cell.dataset.value),
        ]),
      ),
    })),
  );
}

function checkForecast(rows) {
  assert.equal(rows.length, steps, `the table has ${rows.length} rows, not ${steps}`);
  for (const row of rows) {
    const text = JSON.stringify(row);
    assert.ok(Number.isFinite(row.median), `no median: ${text}`);
    assert.ok(row["lo-95"] <= row["lo-80"] && row["hi-80"] <= row["hi-95"], `the bands cross or are missing: ${text}`);
    assert.ok(row["lo-80"] <= row.median && row.median <= row["hi-80"], `the median is outside: ${text}`);
  }
  // A count at night may be zero for sure; by day nothing is.
  const open = rows.filter((row) => row["lo-80"] < row["hi-80"] && row["lo-95"] < row["hi-95"]).length;
  assert.ok(open >= rows.length / 2, `the bands are open at ${open} of ${rows.length} steps only`);
  const times = rows.map((row) => Date.parse(row.time));
  assert.ok(
    times.every((time, i) => i === 0 || time > times[i - 1]),
    "the times do not rise",
  );
}

async function checkNothingKept(page) {
  const stored = await page.evaluate(() => ({
    local: localStorage.length,
    session: sessionStorage.length,
    cookies: document.cookie,
  }));
  assert.deepEqual(stored, { local: 0, session: 0, cookies: "" }, "a script-readable store holds something");
  const cookie = (await page.context().cookies()).find(({ name }) => name === "__Host-quantis-refresh");
  assert.ok(cookie?.httpOnly && cookie.secure && cookie.sameSite === "Strict", "the refresh cookie is not guarded");
}

async function main() {
  assert.ok(base && loginFile, "usage: explorer.mjs BASE_URL LOGIN_FILE [options]");
  const login = JSON.parse(readFileSync(loginFile, "utf8"));
  await onPage({ viewport: { width: 1440, height: 900 }, colorScheme: "light" }, async (page) => {
    const complaints = [];
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => {
      // Before anybody has signed in, the silent refresh is answered 401; the browser reports that itself.
      const silent = message.location().url.endsWith("/v1/oauth/token");
      if (message.type() === "error" && !silent) complaints.push(message.text());
    });

    await page.goto(addressOf("/explorer"));
    await signIn(page, login);
    await page.getByRole("button", { name: "Forecast", exact: true }).click();
    const table = page.getByTestId("forecast-table");
    await Promise.race([
      table.waitFor(),
      page.getByRole("alert").waitFor().then(async () => {
        throw new Error(`the page shows a problem: ${await page.getByRole("alert").innerText()}`);
      }),
    ]);
    const rows = await rowsOf(table);
    checkForecast(rows);
    await checkDrawn(page.getByRole("img", { name: new RegExp(`^${options.series}: .*forecast`) }));
    await checkAccessible(page, "the explorer");
    await checkNothingKept(page);

    // A reload signs in by the cookie and shows the forecast that was issued, not a new one.
    const issued = new URL(page.url()).searchParams.get("forecast");
    assert.ok(issued, "the address does not hold the forecast's id");
    await page.reload();
    await table.waitFor();
    assert.equal(new URL(page.url()).searchParams.get("forecast"), issued);
    assert.deepEqual((await rowsOf(table)).map((row) => row.median), rows.map((row) => row.median));
    if (options.screenshot) {
      await page.waitForLoadState("networkidle");
      await page.screenshot({ path: options.screenshot });
    }

    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    assert.deepEqual(complaints, [], "the console is not clean");
    console.log(`ok: ${rows.length} steps of ${options.series} with bands, forecast ${issued}`);
  });
}

main().catch((error) => {
  console.error(`explorer.mjs: ${error.message}`);
  process.exitCode = 1;
});
