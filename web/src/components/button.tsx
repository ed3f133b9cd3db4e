import type { ButtonHTMLAttributes } from "react";
import { Icon, type IconName } from "./icons";

type Variant = "primary" | "danger" | "ghost";

export interface Look {
  variant?: Variant;
  small?: boolean;
  icon?: IconName;
}

export const classOf = ({ variant, small }: Look, only: boolean) =>
  ["button", variant, small && "small", only && "icon"].filter(Boolean).join(" ");

export function Button({
  variant,
  small,
  icon,
  children,
  ...rest
}: Look & ButtonHTMLAttributes<HTMLButtonElement>) {
  return (
    <button type="button" className={classOf({ variant, small }, !children)} {...rest}>
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}
