import { Button } from "./basics";
import { CopyButton } from "./copy";
import { Notice } from "./feedback";

interface SecretProps {
  /** Name of the thing, in a word or two: "key". */
  name: string;
  text: string;
  onDone: () => void;
}

/** Secret that is shown this once. */
export function Secret({ name, text, onDone }: SecretProps) {
  return (
    <div className="stack">
      <Notice tone="warn" title={`Copy the ${name} now`}>
        <p>It is shown this once and cannot be read again. Keep it where you keep passwords.</p>
      </Notice>
      <div className="secret">
        <code>{text}</code>
        <CopyButton text={text} label={`Copy the ${name}`} name="Copy" />
      </div>
      <footer>
        <Button variant="primary" onClick={onDone}>
          I have kept it
        </Button>
      </footer>
    </div>
  );
}
