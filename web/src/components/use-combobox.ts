import { type KeyboardEvent, useState } from "react";
import type { ComboboxProps, Option } from "./combobox";

const PAGE = 8;
/** Distance from the end of the list at which more options are asked for. */
const MARGIN = 5;

/** State of a combobox: open or closed, typed text, active option, and the keys that move it. */
export function useCombobox({ value, options, onSearch, onSelect, onMore }: ComboboxProps) {
  const [open, setOpen] = useState(false);
  const [text, setText] = useState<string | null>(null);
  const [active, setActive] = useState(0);

  const show = () => {
    const selected = options.findIndex((option) => option.value === value);
    setOpen(true);
    setActive(Math.max(0, selected));
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
  const type = (typed: string) => {
    setText(typed);
    setActive(0);
    setOpen(true);
    onSearch(typed);
  };
  const move = (target: number) => {
    if (open) setActive(target);
    else show();
    if (target > options.length - 1 - MARGIN) onMore?.();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const target = targetOf(event.key, active, options.length - 1);
    if (target !== undefined) move(target);
    else if (event.key === "Enter" && open) choose(options[active]);
    else if (event.key === "Escape" && open) close();
    else return;
    event.preventDefault();
  };
  return { open, text, active, setActive, type, show, close, choose, onKeyDown };
}

/** Return the option that a key leads to; undefined for keys that do not move. */
function targetOf(key: string, active: number, last: number): number | undefined {
  const targets: Record<string, number> = {
    ArrowDown: Math.min(active + 1, last),
    ArrowUp: Math.max(active - 1, 0),
    PageDown: Math.min(active + PAGE, last),
    PageUp: Math.max(active - PAGE, 0),
  };
  return targets[key];
}
