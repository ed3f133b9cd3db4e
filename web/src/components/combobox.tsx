import { type ReactNode, useEffect, useId, useRef } from "react";
import { useCombobox } from "./use-combobox";

export interface Option {
  value: string;
  note?: string;
}

export interface ComboboxProps {
  label: string;
  value: string;
  options: Option[];
  loading?: boolean;
  /** Called with the typed text, so that the options can be searched for. */
  onSearch: (text: string) => void;
  onSelect: (value: string) => void;
  /** Called when the end of the list comes into sight. */
  onMore?: () => void;
  disabled?: boolean;
}

/** Text field with a list below it, by the ARIA combobox pattern: arrows, Page Up and Down, Enter, Escape. */
export function Combobox(props: ComboboxProps) {
  const { label, value, options, loading, disabled, onMore } = props;
  const id = useId();
  const { open, text, active, setActive, type, show, close, choose, onKeyDown } = useCombobox(props);
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
        disabled={disabled}
        placeholder={value || "Search…"}
        value={text ?? value}
        onChange={(event) => type(event.target.value)}
        onFocus={(event) => event.target.select()}
        onClick={show}
        onBlur={close}
        onKeyDown={onKeyDown}
      />
      {open && (
        <ListBox id={`${id}-list`} label={label} onEnd={onMore}>
          {options.map((option, i) => (
            <OptionRow
              key={option.value}
              id={`${id}-${i}`}
              option={option}
              selected={option.value === value}
              active={i === active}
              onHover={() => setActive(i)}
              onChoose={() => choose(option)}
            />
          ))}
          {options.length === 0 && (
            <div className="option muted">{loading ? "Searching…" : "Nothing matches."}</div>
          )}
        </ListBox>
      )}
    </div>
  );
}

interface ListBoxProps {
  id: string;
  label: string;
  /** Called when the end comes into sight. */
  onEnd?: () => void;
  children: ReactNode;
}

/** List that never takes focus, since a press in it must not blur the field. */
function ListBox({ id, label, onEnd, children }: ListBoxProps) {
  const list = useRef<HTMLDivElement>(null);
  useEffect(() => {
    list.current?.querySelector(".active")?.scrollIntoView?.({ block: "nearest" });
  });
  const onScroll = () => {
    const box = list.current;
    if (box && box.scrollTop + box.clientHeight > box.scrollHeight - 60) onEnd?.();
  };
  return (
    <div
      ref={list}
      id={id}
      role="listbox"
      aria-label={label}
      className="listbox"
      onMouseDown={(event) => event.preventDefault()}
      onScroll={onScroll}
    >
      {children}
    </div>
  );
}

interface OptionRowProps {
  id: string;
  option: Option;
  selected: boolean;
  active: boolean;
  onHover: () => void;
  onChoose: () => void;
}

function OptionRow({ id, option, selected, active, onHover, onChoose }: OptionRowProps) {
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: the field keeps the focus
    // biome-ignore lint/a11y/useKeyWithClickEvents: keys are handled by the field
    <div
      id={id}
      role="option"
      aria-selected={selected}
      className={active ? "option active" : "option"}
      onMouseMove={onHover}
      onClick={onChoose}
    >
      <span>{option.value}</span>
      {option.note && <small>{option.note}</small>}
    </div>
  );
}
