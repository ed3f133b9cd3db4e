import { useEffect, useState } from "react";
import { Button } from "./button";
import type { IconName } from "./icons";

interface CopyButtonProps {
  text: string;
  label: string;
  /** Text of a full button; without it, there is an icon alone. */
  name?: string;
  icon?: IconName;
}

export function CopyButton({ text, label, name, icon = "copy" }: CopyButtonProps) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 1600);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = () => navigator.clipboard?.writeText(text).then(() => setCopied(true));
  return (
    <>
      <Button
        variant={name ? undefined : "ghost"}
        small={!name}
        icon={copied ? "check" : icon}
        aria-label={label}
        title={label}
        onClick={copy}
      >
        {name && (copied ? "Copied" : name)}
      </Button>
      <span className="sr-only" role="status">
        {copied ? "Copied" : ""}
      </span>
    </>
  );
}
