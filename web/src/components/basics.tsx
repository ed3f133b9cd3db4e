import type { ReactNode } from "react";
import { Link, type LinkProps } from "react-router";
import { classOf, type Look } from "./button";
import { CopyButton } from "./copy";
import { Icon, type IconName } from "./icons";

export { Button } from "./button";

export function ButtonLink({ variant, small, icon, children, ...rest }: Look & LinkProps) {
  return (
    <Link className={classOf({ variant, small }, !children)} {...rest}>
      {icon && <Icon name={icon} />}
      {children}
    </Link>
  );
}

export type Tone = "good" | "warn" | "bad" | "accent";

export function Badge({ tone, children, icon }: { tone?: Tone; icon?: IconName; children: ReactNode }) {
  return (
    <span className={["badge", tone].filter(Boolean).join(" ")}>
      {icon && <Icon name={icon} />}
      {children}
    </span>
  );
}

interface CardProps {
  title?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  flush?: boolean;
}

export function Card({ title, actions, children, flush }: CardProps) {
  return (
    <section className="card">
      {(title || actions) && (
        <div className="card-head">
          {title && <h2>{title}</h2>}
          {actions}
        </div>
      )}
      {flush ? children : <div className="card-body">{children}</div>}
    </section>
  );
}

interface PageProps {
  title: string;
  heading?: ReactNode;
  intro?: ReactNode;
  back?: { to: string; label: string };
  actions?: ReactNode;
  children: ReactNode;
}

export function Page({ title, heading, intro, back, actions, children }: PageProps) {
  return (
    <>
      <title>{`${title} · Quantis`}</title>
      <header className="page-head">
        <div>
          {back && (
            <Link className="back" to={back.to}>
              <Icon name="left" width={14} height={14} />
              {back.label}
            </Link>
          )}
          <h1>{heading ?? title}</h1>
          {intro && <p>{intro}</p>}
        </div>
        {actions && <div className="actions">{actions}</div>}
      </header>
      <div className="stack">{children}</div>
    </>
  );
}

export function Skeleton({ height = 16, width = "100%" }: { height?: number; width?: number | string }) {
  return <span className="skeleton" style={{ height, width }} />;
}

export function LoadingRows({ rows = 5 }: { rows?: number }) {
  return (
    <div className="card-body stack" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the rows are alike and never move
        <Skeleton key={i} height={18} width={`${92 - ((i * 17) % 40)}%`} />
      ))}
    </div>
  );
}

export function CopyText({ text, label, short }: { text: string; label: string; short?: string }) {
  return (
    <span className="copy">
      <code title={text}>{short ?? text}</code>
      <CopyButton text={text} label={label} />
    </span>
  );
}

/** Name and value in a list of facts (`dl.facts`). */
export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}
