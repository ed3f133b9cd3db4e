// A registry that lacks another platform's binary makes npm leave it out of the lock file, and `npm ci`
// then refuses the file. This names such optional packages again: with --check it only tells.
import { readFileSync, writeFileSync } from "node:fs";

const PLATFORM = /-(android|darwin|linux|win32)-(x64|arm64)(-musl)?$/;

const path = new URL("../package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(path, "utf8"));
const { packages } = lock;
const missing = [];

for (const [place, owner] of Object.entries(packages)) {
  for (const [name, version] of Object.entries(owner.optionalDependencies ?? {})) {
    const entry = `node_modules/${name}`;
    if (packages[entry] || packages[`${place}/${entry}`]) continue;
    const [, os, cpu, musl] = PLATFORM.exec(name) ?? [];
    if (!os) throw new Error(`${name}, which ${place} may use, is not in the lock file`);
    missing.push(name);
    packages[entry] = {
      version,
      cpu: [cpu],
      dev: owner.dev,
      optional: true,
      os: [os],
      engines: owner.engines,
    };
    if (musl) packages[entry].libc = ["musl"];
  }
}

if (missing.length > 0 && process.argv.includes("--check")) {
  console.error(`package-lock.json lacks ${missing.join(", ")}; run npm run lock`);
  process.exitCode = 1;
} else if (missing.length > 0) {
  const sorted = Object.entries(packages).sort(([a], [b]) => (a < b ? -1 : 1));
  writeFileSync(path, `${JSON.stringify({ ...lock, packages: Object.fromEntries(sorted) }, null, 2)}\n`);
  console.log(`named again: ${missing.join(", ")}`);
}
