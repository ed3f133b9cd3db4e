// Keys, service accounts and the trail of both, in a real browser: a key is made and works, is revoked and stops
// working, and the audit trail holds both; every page about users, service accounts and decisions is accessible.
//
//   node tests/browser/trust.mjs BASE_URL LOGIN_FILE [--screenshot FILE.png]
//
// LOGIN_FILE is JSON with `user_name` and `password` of an admin. BASE_URL and LOGIN_FILE may be given as
// QUANTIS_URL and QUANTIS_LOGIN_FILE; CHROMIUM names the browser. Exit code 1 and a reason on failure.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { checkAccessible, onPage, signIn } from "./steps.mjs";

const PAGES = ["Approvals", "Usage", "Users", "Service accounts", "Audit trail"];
const STOPS_WITHIN_MS = 5000;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { screenshot: { type: "string" } },
});
const base = positionals[0] ?? process.env.QUANTIS_URL;
const loginFile = positionals[1] ?? process.env.QUANTIS_LOGIN_FILE;
const name = `browser-${Date.now().toString(36)}`;

/** Status of a request with the key. */
const statusWith = async (key) =>
  (await fetch(new URL("/v1/datasets", base), { headers: { Authorization: `Bearer ${key}` } })).status;

/** By keyboard alone: to the button, into the form, Enter; the password again, Enter. */
async function makeKey(page, password) {
  await page.getByRole("button", { name: "New key" }).focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "New API key" });
  await dialog.getByLabel("Name").focus();
  await page.keyboard.type(name);
  await checkAccessible(page, "the form of a new key");
  await page.keyboard.press("Enter");
  const again = page.getByRole("dialog", { name: "Your password, again" });
  await again.getByLabel("Password", { exact: true }).focus();
  await checkAccessible(page, "the form that asks for the password again");
  await page.keyboard.type(password);
  await page.keyboard.press("Enter");
  const shown = dialog.locator(".secret code");
  await shown.waitFor();
  const key = await shown.innerText();
  await dialog.getByRole("button", { name: "I have kept it" }).click();
  await page.getByRole("row", { name: new RegExp(name) }).waitFor();
  return key;
}

async function revokeKey(page, key) {
  await page.getByRole("button", { name: `Revoke ${name}` }).click();
  await page.getByRole("button", { name: "Revoke the key" }).click();
  await page.getByRole("row", { name: new RegExp(`${name}.*Revoked`) }).waitFor();
  const revoked = Date.now();
  let status = await statusWith(key);
  while (status !== 401 && Date.now() - revoked < STOPS_WITHIN_MS) {
    await page.waitForTimeout(200);
    status = await statusWith(key);
  }
  assert.equal(status, 401, `the key still works ${STOPS_WITHIN_MS} ms after it was revoked`);
}

async function visit(page, title) {
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: title }).click();
  await page.getByRole("heading", { name: title, level: 1 }).waitFor();
  await page.waitForFunction(() => !document.querySelector('#main [role="status"][aria-label="Loading"]'));
  assert.equal(await page.getByRole("alert").count(), 0, `${title} shows a problem`);
  await checkAccessible(page, title);
}

async function main() {
  assert.ok(base && loginFile, "usage: trust.mjs BASE_URL LOGIN_FILE [--screenshot FILE.png]");
  const login = JSON.parse(readFileSync(loginFile, "utf8"));
  await onPage({ viewport: { width: 1440, height: 900 }, colorScheme: "dark" }, async (page) => {
    await page.goto(new URL("/account", base).href);
    await signIn(page, login);
    await page.getByRole("row", { name: /this one/ }).waitFor();
    await checkAccessible(page, "Account");
    const key = await makeKey(page, login.password);
    assert.equal(await statusWith(key), 200, "the new key does not work");
    await revokeKey(page, key);
    for (const title of PAGES) await visit(page, title);

    await page.getByLabel("Who").fill(login.user_name);
    await page.getByLabel("What", { exact: true }).fill("api-keys");
    await page.waitForURL(/action=api-keys/);
    const last = page.locator("tbody tr", { hasText: "Revoke an API key" }).first();
    await last.waitFor();
    assert.match(await last.innerText(), new RegExp(`${login.user_name}[^]*done`));
    await page.locator("summary", { hasText: "Create an API key" }).first().click();
    await page.getByText(name, { exact: true }).waitFor();
    if (options.screenshot) await page.screenshot({ path: options.screenshot });
    await page.getByRole("button", { name: "Use the light theme" }).click();
    await checkAccessible(page, "the audit trail in the light theme");
    console.log(`ok: the key ${name} worked, was revoked, and the trail holds both`);
  });
}

main().catch((error) => {
  console.error(`trust.mjs: ${error.message}`);
  process.exitCode = 1;
});
