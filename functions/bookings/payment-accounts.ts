import { maxAccounts, type PaymentAccountStore } from '../../shared/booking/payment-accounts.ts';
import type { PaymentAccountsView, PaymentAccountView } from '../../shared/http/api-schemas.ts';
import type { HttpRequest } from '../../shared/http/http.ts';
import { invalidRequest } from '../../shared/http/invalid-request.ts';
import { AppError } from '../../shared/lib/app-error.ts';
import { type Clock, toIso } from '../../shared/lib/clock.ts';
import { accountMessage, accountPattern } from '../../shared/lib/connected-account.ts';
import { retryOnConflict } from '../../shared/lib/retry-on-conflict.ts';

/** The connected accounts of Stripe whose payments count for the bookings of a user. */

export type AccountsDeps = { accounts: Pick<PaymentAccountStore, 'get' | 'save'>; clock: Clock };

/** The account of a request. Errors: `invalid_request` (400). */
export function parseAccountId({ pathParameters }: HttpRequest): string {
  const accountId = pathParameters?.accountId ?? '';
  if (accountPattern.test(accountId)) return accountId;
  throw invalidRequest([{ code: 'invalid_field', field: 'accountId', message: accountMessage }]);
}

/**
 * Binds an account: payments to it count from now on. Idempotent.
 * Errors: `too_many_payment_accounts`, `concurrent_update` (409).
 */
export function bindAccount(
  { accounts: store, clock }: AccountsDeps,
  userId: string,
  accountId: string,
): Promise<{ isNew: boolean; account: PaymentAccountView }> {
  return retryOnConflict('payment accounts', async () => {
    const stored = await store.get(userId);
    const known = stored.accounts[accountId];
    if (known) return { isNew: false, account: { accountId, boundAt: known } };
    if (Object.keys(stored.accounts).length >= maxAccounts) throw tooMany();
    const boundAt = toIso(clock());
    const accounts = { ...stored.accounts, [accountId]: boundAt };
    const isSaved = await store.save({ ...stored, accounts });
    return isSaved ? { isNew: true, account: { accountId, boundAt } } : undefined;
  });
}

/** Errors: `payment_account_not_found` (404). */
export async function viewAccount(
  { accounts: store }: AccountsDeps,
  userId: string,
  accountId: string,
): Promise<PaymentAccountView> {
  const boundAt = (await store.get(userId)).accounts[accountId];
  if (boundAt) return { accountId, boundAt };
  throw new AppError('payment_account_not_found', 'The account is not bound to this user. PUT binds it.', {
    status: 404,
  });
}

/**
 * Unbinds an account: payments that come later do not count; those that counted stay. Idempotent.
 * Errors: `concurrent_update` (409).
 */
export async function unbindAccount(
  { accounts: store }: AccountsDeps,
  userId: string,
  accountId: string,
): Promise<void> {
  await retryOnConflict('payment accounts', async () => {
    const stored = await store.get(userId);
    if (!stored.accounts[accountId]) return true;
    const { [accountId]: _, ...accounts } = stored.accounts;
    return (await store.save({ ...stored, accounts })) || undefined;
  });
}

/** The accounts of a user, the one that was bound first at first. */
export async function listAccounts(
  { accounts: store }: AccountsDeps,
  userId: string,
): Promise<PaymentAccountsView> {
  const { accounts } = await store.get(userId);
  const views = Object.entries(accounts).map(([accountId, boundAt]) => ({ accountId, boundAt }));
  return { accounts: views.sort((one, other) => Date.parse(one.boundAt) - Date.parse(other.boundAt)) };
}

function tooMany(): AppError {
  return new AppError(
    'too_many_payment_accounts',
    `A user can have ${maxAccounts} payment accounts. Unbind one that is not used any more, or name the account in the booking as "paymentAccount".`,
    { status: 409 },
  );
}
