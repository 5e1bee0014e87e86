/**
 * A description as Google takes it. Google reads HTML there: only the characters that begin markup are escaped, so that
 * phones and feeds, which show entities, show no others.
 */
export function toEventDescription(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
