import type { SVGProps } from "react";

const paths = {
  explorer: "M3 17c3-1 4-8 7-8s3 4 5 4 3-4 6-7M3 21h18",
  datasets:
    "M4 6c0-1.7 3.6-3 8-3s8 1.3 8 3-3.6 3-8 3-8-1.3-8-3Zm0 0v12c0 1.7 3.6 3 8 3s8-1.3 8-3V6M4 12c0 1.7 3.6 3 8 3s8-1.3 8-3",
  jobs: "M12 3v3m0 12v3M4.2 7.5l2.6 1.5m10.4 6 2.6 1.5M4.2 16.5 6.8 15m10.4-6 2.6-1.5M15 12a3 3 0 1 1-6 0 3 3 0 0 1 6 0Z",
  models: "M12 3 21 8l-9 5-9-5 9-5Zm-9 9 9 5 9-5M3 16l9 5 9-5",
  users:
    "M16 20c0-3-2.7-5-6-5s-6 2-6 5m6-8a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm6.5-.3a3.5 3.5 0 0 0 0-7M20 19.5c0-2.3-1-3.8-2.7-4.6",
  approvals:
    "M20 12.5V6l-8-3-8 3v6c0 4.500 3.200 7.600 8 9m-3-9.500 2.500 2.500 4.500-4.500M15 18.500l2 2 4-4",
  usage: "M4 17a8.500 8.500 0 1 1 16 0M12 15l4-5M12 15v.01",
  "service-accounts": "M4 4h16v7H4zM4 13h16v7H4zM8 7.500v.01M8 16.500v.01M12 7.500h4M12 16.500h4",
  audit: "M6 3h9l4 4v14H6zM15 3v4h4M9.500 11.500h6M9.500 14.500h6M9.500 17.500h3.500",
  copy: "M9 9h10v11H9zM5 15V4h10",
  check: "m5 12.5 4.5 4.5L19 7.5",
  alert: "M12 8v5m0 3.5v.01M10.3 4 2.8 17.5A2 2 0 0 0 4.5 20.5h15a2 2 0 0 0 1.7-3L13.7 4a2 2 0 0 0-3.4 0Z",
  info: "M12 11v5m0-8.5v.01M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0Z",
  cross: "m6 6 12 12M18 6 6 18",
  upload: "M12 16V4m-5 5 5-5 5 5M4 16v3a1 1 0 0 0 1 1h14a1 1 0 0 0 1-1v-3",
  download: "M12 4v12m-5-5 5 5 5-5M4 20h16",
  left: "m14 6-6 6 6 6",
  right: "m10 6 6 6-6 6",
  plus: "M12 5v14M5 12h14",
  stop: "M7 7h10v10H7z",
  sun: "M12 17a5 5 0 1 0 0-10 5 5 0 0 0 0 10Zm0-14.5v1m0 17v1M4.9 4.900l.7.7m12.8 12.8.7.7M2.5 12h1m17 0h1M4.9 19.100l.7-.7M18.4 5.600l.7-.7",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z",
  signout: "M14 4h4a2 2 0 0 1 2 2v12a2 2 0 0 1-2 2h-4M3 12h12m-4-4 4 4-4 4",
  star: "m12 4 2.4 5.1 5.6.7-4.1 3.8 1.1 5.5-5-2.8-5 2.8 1.1-5.5L4 9.800l5.6-.7L12 4Z",
  link: "M10 14a4 4 0 0 0 5.7 0l3.1-3.100a4 4 0 0 0-5.7-5.700L12 6.3m2 3.700a4 4 0 0 0-5.7 0l-3.1 3.100a4 4 0 0 0 5.7 5.700l1.1-1.1",
  spark:
    "m12 3 1.9 5.600a2 2 0 0 0 1.3 1.3L21 12l-5.8 2.100a2 2 0 0 0-1.3 1.3L12 21l-1.9-5.600a2 2 0 0 0-1.3-1.3L3 12l5.8-2.100a2 2 0 0 0 1.3-1.3L12 3Z",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name, ...rest }: { name: IconName } & SVGProps<SVGSVGElement>) {
  return (
    <svg
      viewBox="0 0 24 24"
      width="18"
      height="18"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.7"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      {...rest}
    >
      <path d={paths[name]} />
    </svg>
  );
}

/** Line that opens into its quantiles. */
export function Logo() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="#27407f" />
      <path d="M11 18 27 6v20Z" fill="#7d98ff" fillOpacity=".4" />
      <path d="M11 18 27 11v11.5Z" fill="#9db2ff" fillOpacity=".8" />
      <path
        d="M5 21.5 8 15l3 3 16-1.5"
        fill="none"
        stroke="#fff"
        strokeWidth="2.4"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}

/** Drawing of an empty state: a history that still lacks its forecast. */
export function EmptyArt() {
  return (
    <svg className="art" viewBox="0 0 104 60" fill="none" aria-hidden="true">
      <path d="M46 34 100 10v44Z" fill="var(--chart-band-95)" />
      <path d="M46 34 100 22v22Z" fill="var(--chart-band-80)" />
      <path
        d="M4 44 12 30l8 10 9-22 9 24 8-8"
        stroke="var(--line-strong)"
        strokeWidth="2.5"
        strokeLinejoin="round"
      />
      <path
        d="m46 34 54-2"
        stroke="var(--chart-forecast)"
        strokeWidth="2.5"
        strokeDasharray="1 5"
        strokeLinecap="round"
      />
    </svg>
  );
}
