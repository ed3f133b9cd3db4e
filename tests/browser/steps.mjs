// What every journey in a real browser shares: the browser, signing in, and what is checked on any page.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const fromWeb = createRequire(new URL("../../web/package.json", import.meta.url));
const { chromium } = fromWeb("playwright-core");
const AXE = readFileSync(fromWeb.resolve("axe-core/axe.min.js"), "utf8");

const QUIET = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Chromium, the one of CHROMIUM or Debian's. */
const openBrowser = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: QUIET });

/** Run a journey on a new page; where it fails, the error says what the page showed. */
export async function onPage(options, journey) {
  const browser = await openBrowser();
  const page = await browser.newPage(options);
  page.setDefaultTimeout(30_000);
  try {
    await journey(page);
  } catch (error) {
    error.message += `\n\nthe page showed:\n${await contentOf(page)}`;
    throw error;
  } finally {
    await browser.close();
  }
}

/** Text of the open dialog, or else of the page, and the element that has the focus. */
const contentOf = (page) =>
  page
    .evaluate(() => {
      const shown = document.querySelector("dialog[open]") ?? document.body;
      return `${shown.innerText}\nfocus: ${document.activeElement?.outerHTML.slice(0, 300)}`;
    })
    .catch((error) => `nothing: ${error.message}`);

export async function signIn(page, login) {
  await page.getByLabel("User name").fill(login.user_name);
  await page.getByLabel("Password").fill(login.password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("navigation", { name: "Main" }).waitFor();
}

/** No violation of axe's rules, once colours that are on their way to others have got there. */
export async function checkAccessible(page, where) {
  await page.evaluate(AXE);
  const violations = await page.evaluate(async () => {
    const moving = document.getAnimations().filter((animation) => animation instanceof CSSTransition);
    await Promise.allSettled(moving.map(({ finished }) => finished));
    const report = await axe.run(document, { resultTypes: ["violations"] });
    return report.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(" ")).join(", ")}`);
  });
  assert.deepEqual(violations, [], `${where} is not accessible`);
}

/** A canvas can have a name and still be blank: count the colours that were drawn. */
export async function checkDrawn(chart) {
  await chart.waitFor();
  const colours = await chart.evaluate((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
  });
  assert.ok(colours > 20, `the chart is blank: ${colours} colours`);
}
