/** The ids of accounts that are connected to a Stripe platform. */
export const accountPattern = /^acct_[A-Za-z0-9]{1,59}$/;
/** The account in the id of a payment, as translation puts it there. */
export function accountOfPayment(paymentId: string): string | undefined {
  const [account = ''] = paymentId.split(':');
  return accountPattern.test(account) ? account : undefined;
}

export const accountMessage = 'It must be the id of a connected account, such as acct_1032D82eZvKYlo2C.';
