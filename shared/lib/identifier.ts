const pattern = /^[A-Za-z0-9_.:@-]{1,128}$/;

/** Whether `value` may be a user id or a booking id: 1 to 128 characters of `A-Za-z0-9_.:@-`. */
export function isIdentifier(value: unknown): value is string {
  return typeof value === 'string' && pattern.test(value);
}
