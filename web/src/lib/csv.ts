export type Cell = string | number | null;

/**
 * Text that a spreadsheet would run as a formula (OWASP, "CSV Injection"); behind a ' it is shown. Spreadsheets take
 * the full-width and small forms of = + - @ for the same, and some skip blanks and invisible characters before them.
 */
const FORMULA = /^(?:[\t\r\n]|[\s\p{C}\p{Z}]*[=+\-@\u2212\uFF1D\uFF0B\uFF0D\uFF20\uFE66\uFE62\uFE63\uFE6B])/u;

const quote = (cell: Cell) => {
  if (typeof cell !== "string") return cell === null ? "" : String(cell);
  const text = FORMULA.test(cell) ? `'${cell}` : cell;
  return /[",;\n\r\t']/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** Write rows as CSV by RFC 4180, with a header line. */
export function toCsv(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return [header, ...rows]
    .map((row) => row.map(quote).join(","))
    .join("\r\n")
    .concat("\r\n");
}

export const download = (fileName: string, text: string) =>
  downloadBlob(fileName, new Blob([text], { type: "text/csv" }));

export function downloadBlob(fileName: string, content: Blob): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = fileName;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
