// Fails when what a first visit loads outgrows its budget.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const BUDGET_KB = 150;

const dist = new URL("../dist/", import.meta.url);
const page = readFileSync(new URL("index.html", dist), "utf8");
const files = [...page.matchAll(/(?:src|href)="\/(assets\/[^"]+\.(?:js|css))"/g)].map((match) => match[1]);
const sizes = files.map((file) => gzipSync(readFileSync(new URL(file, dist))).length / 1000);
const total = sizes.reduce((sum, size) => sum + size, 0);
console.log(`first visit: ${total.toFixed(1)} kB gzipped in ${files.length} files (budget ${BUDGET_KB})`);
if (files.length === 0 || total > BUDGET_KB) process.exit(1);
