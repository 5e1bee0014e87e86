import { env } from './names.ts';

/** The environment variable `name`. Throws where the stack did not set it, so that a wiring fault shows at once. */
export function required(name: string): string {
  const value = process.env[name];
  if (!value)
    throw new Error(`Environment variable ${name} is not set on this function. Check infra/stack.ts.`);
  return value;
}

/** A whole number from the environment. */
export function requiredNumber(name: string): number {
  const value = Number(required(name));
  if (Number.isInteger(value)) return value;
  throw new Error(`Environment variable ${name} is not a whole number. Check infra/stack.ts.`);
}

/** How bookings are stored, from the stack's options. */
export function storeOptions(): { indexShards: number; keepDays: number } {
  return { indexShards: requiredNumber(env.indexShards), keepDays: requiredNumber(env.keepBookingsDays) };
}

/** When connections are refreshed, from the stack's options. */
export function refreshPolicy(): RefreshPolicy {
  return JSON.parse(required(env.refreshPolicy)) as RefreshPolicy;
}

/** Whether a refund or a lost dispute cancels the appointment, from the stack's options. */
export function paymentPolicy(): { refunded: 'cancel' | 'keep'; disputeLost: 'cancel' | 'keep' } {
  return JSON.parse(required(env.paymentPolicy));
}

/** How to treat a booking whose time is taken by another event, from the stack's options. */
export function conflictPolicy(): 'create' | 'flag' | 'hold' {
  return required(env.conflictPolicy) as 'create' | 'flag' | 'hold';
}

/** The calendars that users are asked for, from the stack's options. */
export function calendarScope(): 'owned' | 'shared' {
  return required(env.calendarScope) as 'owned' | 'shared';
}

/** The mode of Stripe whose payments count. */
export type StripeMode = 'live' | 'test' | 'both';

/** Whether an invoice that no money through Stripe has paid pays for a booking. */
export type InvoicesPaidOutOfBand = 'ignore' | 'count';

/** Which events of Stripe count, from the stack's options. */
export type StripeSettings = {
  stripeMode: StripeMode;
  invoicesPaidOutOfBand: InvoicesPaidOutOfBand;
};

export function stripeSettings(): StripeSettings {
  return {
    stripeMode: required(env.stripeMode) as StripeMode,
    invoicesPaidOutOfBand: required(env.invoicesPaidOutOfBand) as InvoicesPaidOutOfBand,
  };
}

/** Whether payments of connected accounts count. */
export function stripeConnect(): boolean {
  return process.env[env.stripeConnect] === 'true';
}

/** Scopes that connect requests in addition to those that a connection needs. */
export function optionalScopes(): string[] {
  return splitWords(process.env[env.optionalScopes]);
}

/** Base URL of Stripe's API or of a simulator, without a trailing slash. */
export function stripeUrl(): string {
  return (process.env[env.stripeUrl] || 'https://api.stripe.com').replace(/\/$/, '');
}

/** Origins to which a browser may return, e.g. `https://app.example.com`. */
export function returnOrigins(): string[] {
  return splitWords(process.env[env.returnOrigins]);
}

function splitWords(text = ''): string[] {
  return text.split(/\s+/).filter(Boolean);
}

/** When connections are refreshed, in seconds. */
export type RefreshPolicy = {
  /** A connection used within this time always has a valid access token. */
  inUseFor: number;
  /** How long before its expiry the access token of a connection in use is replaced. */
  margin: number;
  /** Interval of refreshes of an idle connection: finds revoked grants, and Google counts it as use. */
  keepAlive: number;
};
