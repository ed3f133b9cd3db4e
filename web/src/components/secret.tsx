import { Button } from "./basics";
import { CopyButton } from "./copy";
import { Notice } from "./feedback";

interface SecretProps {
  /** What it is, in a word or two: "key". */
  what: string;
  text: string;
  onDone: () => void;
}

/** A secret that is shown this once. */
export function Secret({ what, text, onDone }: SecretProps) {
  return (
    <div className="stack">
      <Notice tone="warn" title={`Copy the ${what} now`}>
        <p>It is shown this once and cannot be read again. Keep it where you keep passwords.</p>
      </Notice>
      <div className="secret">
        <code>{text}</code>
        <CopyButton text={text} label={`Copy the ${what}`} name="Copy" />
      </div>
      <footer>
        <Button variant="primary" onClick={onDone}>
          I have kept it
        </Button>
      </footer>
    </div>
  );
}
