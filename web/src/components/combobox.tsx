import { type KeyboardEvent, useEffect, useId, useRef, useState } from "react";

export interface Option {
  value: string;
  note?: string;
}

interface ComboboxProps {
  label: string;
  value: string;
  options: Option[];
  loading?: boolean;
  /** Called with what was typed, so that the options can be searched for. */
  onSearch: (text: string) => void;
  onSelect: (value: string) => void;
  /** Called when the end of the list comes into sight. */
  onMore?: () => void;
  disabled?: boolean;
}

/** A text field with a list below it, by the ARIA combobox pattern: arrows, Enter, Escape, Home, End. */
export function Combobox(props: ComboboxProps) {
  const { label, value, options, onSearch, onSelect } = props;
  const id = useId();
  const [open, setOpen] = useState(false);
  const [text, setText] = useState<string | null>(null);
  const [active, setActive] = useState(0);
  const list = useRef<HTMLDivElement>(null);

  useEffect(() => {
    list.current?.querySelector(".active")?.scrollIntoView?.({ block: "nearest" });
  });

  const show = () => {
    setOpen(true);
    setActive(
      Math.max(
        0,
        options.findIndex((option) => option.value === value),
      ),
    );
  };
  const close = () => {
    setOpen(false);
    setText(null);
    onSearch("");
  };
  const choose = (option: Option | undefined) => {
    if (option) onSelect(option.value);
    close();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const last = options.length - 1;
    const moves: Record<string, number> = {
      ArrowDown: Math.min(active + 1, last),
      ArrowUp: Math.max(active - 1, 0),
      PageDown: Math.min(active + 8, last),
      PageUp: Math.max(active - 8, 0),
    };
    const move = moves[event.key];
    if (move !== undefined) {
      event.preventDefault();
      if (open) setActive(move);
      else show();
      if (move > last - 5) props.onMore?.();
    } else if (event.key === "Enter" && open) {
      event.preventDefault();
      choose(options[active]);
    } else if (event.key === "Escape" && open) {
      event.preventDefault();
      close();
    }
  };
  const onScroll = () => {
    const box = list.current;
    if (box && box.scrollTop + box.clientHeight > box.scrollHeight - 60) props.onMore?.();
  };

  return (
    <div className="field combobox">
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        className="input"
        role="combobox"
        aria-expanded={open}
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={open && options.length ? `${id}-${active}` : undefined}
        autoComplete="off"
        spellCheck={false}
        disabled={props.disabled}
        placeholder={value || "Search…"}
        value={text ?? value}
        onChange={(event) => {
          setText(event.target.value);
          setActive(0);
          setOpen(true);
          onSearch(event.target.value);
        }}
        onFocus={(event) => event.target.select()}
        onClick={show}
        onBlur={close}
        onKeyDown={onKeyDown}
      />
      {open && (
        // The list never takes focus: a press in it must not blur the field.
        <div
          ref={list}
          id={`${id}-list`}
          role="listbox"
          aria-label={label}
          className="listbox"
          onMouseDown={(event) => event.preventDefault()}
          onScroll={onScroll}
        >
          {options.map((option, i) => (
            // biome-ignore lint/a11y/useFocusableInteractive: as above
            // biome-ignore lint/a11y/useKeyWithClickEvents: keys are handled by the field
            <div
              key={option.value}
              id={`${id}-${i}`}
              role="option"
              aria-selected={option.value === value}
              className={i === active ? "option active" : "option"}
              onMouseMove={() => setActive(i)}
              onClick={() => choose(option)}
            >
              <span>{option.value}</span>
              {option.note && <small>{option.note}</small>}
            </div>
          ))}
          {options.length === 0 && (
            <div className="option muted">{props.loading ? "Searching…" : "Nothing matches."}</div>
          )}
        </div>
      )}
    </div>
  );
}
