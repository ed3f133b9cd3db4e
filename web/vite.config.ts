import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const api = process.env.QUANTIS_API ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react()],
  base: "/",
  // No data: URLs and no inline polyfill, so that a CSP of 'self' alone holds.
  build: {
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2023",
    rollupOptions: { input: { main: "index.html", docs: "docs/index.html" } },
  },
  server: { proxy: { "/v1": api, "/openapi.json": api } },
  preview: { proxy: { "/v1": api, "/openapi.json": api } },
  test: {
    environment: "jsdom",
    environmentOptions: { jsdom: { url: "http://quantis.test/" } },
    setupFiles: ["src/testing/setup.ts"],
    restoreMocks: true,
    testTimeout: 30_000,
  },
});
