import { Suspense } from "react";
import { NavLink, Outlet, ScrollRestoration, useLocation } from "react-router";
import { PasswordAgain } from "./auth/password-again";
import { session } from "./auth/session";
import { Gate } from "./auth/sign-in";
import { useMay, useSessionStatus, useUser } from "./auth/use-session";
import { Button, LoadingRows } from "./components/basics";
import { Icon, type IconName, Logo } from "./components/icons";
import { toggleTheme, useTheme } from "./components/theme";
import { ROLE_NAMES } from "./lib/roles";

interface NavItem {
  to: string;
  name: string;
  icon: IconName;
}

const WORK: NavItem[] = [
  { to: "/explorer", name: "Explorer", icon: "explorer" },
  { to: "/datasets", name: "Datasets", icon: "datasets" },
  { to: "/jobs", name: "Jobs", icon: "jobs" },
  { to: "/models", name: "Models", icon: "models" },
];
const TEAM: NavItem[] = [
  { to: "/approvals", name: "Approvals", icon: "approvals" },
  { to: "/usage", name: "Usage", icon: "usage" },
];
const ADMIN: NavItem[] = [
  { to: "/users", name: "Users", icon: "users" },
  { to: "/service-accounts", name: "Service accounts", icon: "service-accounts" },
  { to: "/audit", name: "Audit trail", icon: "audit" },
];

/** Frame of every page, or the sign-in form until there is a session. */
export function Shell() {
  const status = useSessionStatus();
  if (status === "starting") return <div className="gate" role="status" aria-label="Starting" />;
  return status === "in" ? <Frame /> : <Gate />;
}

function Frame() {
  const { pathname } = useLocation();
  return (
    <div className="shell">
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <Nav />
      <TopBar />
      <main id="main" className="main" tabIndex={-1} key={pathname.split("/")[1]}>
        <Suspense fallback={<LoadingRows />}>
          <Outlet />
        </Suspense>
      </main>
      <PasswordAgain />
      <ScrollRestoration />
    </div>
  );
}

function Nav() {
  const admin = useMay("admin");
  return (
    <nav className="nav" aria-label="Main">
      <NavLink className="brand" to="/explorer" aria-label="Quantis, to the explorer">
        <Logo />
        <b>quantis</b>
      </NavLink>
      <NavList items={WORK} />
      <p className="nav-group" id="nav-team">
        Team
      </p>
      <NavList items={admin ? [...TEAM, ...ADMIN] : TEAM} labelledBy="nav-team" />
      <p className="nav-foot">
        <a href="/docs">API reference</a>
      </p>
    </nav>
  );
}

function NavList({ items, labelledBy }: { items: NavItem[]; labelledBy?: string }) {
  return (
    <ul aria-labelledby={labelledBy}>
      {items.map(({ to, name, icon }) => (
        <li key={to}>
          <NavLink to={to}>
            <Icon name={icon} />
            {name}
          </NavLink>
        </li>
      ))}
    </ul>
  );
}

function TopBar() {
  const user = useUser();
  const theme = useTheme();
  return (
    <header className="top">
      <span className="brand">
        <Logo />
        <b>quantis</b>
      </span>
      <span className="crumbs" />
      <Button
        variant="ghost"
        icon={theme === "dark" ? "sun" : "moon"}
        aria-label={theme === "dark" ? "Use the light theme" : "Use the dark theme"}
        title={theme === "dark" ? "Light theme" : "Dark theme"}
        onClick={toggleTheme}
      />
      {user && (
        <NavLink className="who" to="/account" title="Your account">
          <span className="avatar" aria-hidden="true">
            {user.user_name.slice(0, 2)}
          </span>
          <span>
            <b>{user.user_name}</b>
            <small>
              {ROLE_NAMES[user.role]} · team {user.team}
            </small>
          </span>
        </NavLink>
      )}
      <Button
        variant="ghost"
        icon="signout"
        aria-label="Sign out"
        title="Sign out"
        onClick={() => session.signOut()}
      />
    </header>
  );
}
