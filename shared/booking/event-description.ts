/**
 * A description for Google, which reads HTML there. Only the characters that begin markup are escaped, since phones and
 * feeds show the entities.
 */
export function toEventDescription(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
