import { html } from 'hono/html';
import type { HtmlEscapedString } from 'hono/utils/html';

export type Html = HtmlEscapedString | Promise<HtmlEscapedString>;

/** Every page of the simulator says that it is one. Values in templates are escaped by `html`. */
export function page(title: string, content: Html, options: { wide?: boolean } = {}): Html {
  return html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${title} – simulated Google</title>
    <link rel="stylesheet" href="/_simulator/style.css">
    <link rel="icon" href="/_simulator/icon.svg">
  </head>
  <body${options.wide ? html` class="wide"` : ''}>
    <header class="banner">
      <a href="/">Simulated Google</a>
      <span>for development and tests: no Google account is involved</span>
    </header>
    ${content}
  </body>
</html>`;
}

/** Only our own style sheet and icon can load. Forms are not limited: consent redirects to the app. */
export const pageHeaders = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
};

/** A disc with the account's initial. */
export function avatar(name: string): Html {
  return html`<span class="avatar" aria-hidden="true">${name.slice(0, 1)}</span>`;
}
