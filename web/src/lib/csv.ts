export type Cell = string | number | null;

/** What a spreadsheet would run as a formula (OWASP, "CSV Injection"); it shows a text that begins with '. */
const FORMULA = /^[=+\-@\t\r\n]/;

const quoted = (cell: Cell) => {
  if (typeof cell !== "string") return cell === null ? "" : String(cell);
  const text = FORMULA.test(cell) ? `'${cell}` : cell;
  return /[",\n\r\t']/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** RFC 4180, with a header line. */
export function toCsv(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return [header, ...rows]
    .map((row) => row.map(quoted).join(","))
    .join("\r\n")
    .concat("\r\n");
}

export function download(fileName: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = fileName;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
