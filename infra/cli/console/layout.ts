import { html } from 'hono/html';
import type { HtmlEscapedString } from 'hono/utils/html';
import type { Section } from '../ops/print.ts';

export type Html = HtmlEscapedString | Promise<HtmlEscapedString>;

/** A page of the console for one deployment. `html` escapes every value. */
export function layout(deployment: string, title: string, content: Html): Html {
  return html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${title} – ${deployment}</title>
    <link rel="stylesheet" href="/style.css">
    <link rel="icon" href="/icon.svg">
  </head>
  <body>
    <header>
      <nav aria-label="Console">
        <strong>LeadsCalendar × Google: ${deployment}</strong>
        <a href="/">Overview</a>
        <a href="/audit">Audit</a>
        <a href="/doctor">Doctor</a>
      </nav>
      <form role="search" action="/find">
        <label class="visually-hidden" for="text">Id or e-mail address</label>
        <input id="text" name="text" type="search" required maxlength="320" placeholder="Id or e-mail address">
        <button>Find</button>
      </form>
    </header>
    <main><h1>${title}</h1>${content}</main>
  </body>
</html>`;
}

/** Only our own style sheet and icon load, and forms lead back to the console. */
export const pageHeaders = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
};

export const bookingLink = (id: string): Html => html`<a href="/booking/${encodeURIComponent(id)}">${id}</a>`;
export const paymentLink = (id: string): Html => html`<a href="/payment/${encodeURIComponent(id)}">${id}</a>`;
export const userLink = (id: string): Html => html`<a href="/user/${encodeURIComponent(id)}">${id}</a>`;
export const statusText = (status: string): Html =>
  html`<span class="status ${status}">${status.replaceAll('_', ' ')}</span>`;

/** Fields that are the id of something with a page of its own. */
const linkOf: Record<string, (value: string) => Html> = {
  booking: bookingLink,
  status: statusText,
  link: (url) =>
    url.startsWith('https://') || url.startsWith('http://127.0.0.1')
      ? html`<a href="${url}">${url}</a>`
      : html`${url}`,
};

export function sectionHtml({ heading, fields = [], lines = [] }: Section): Html {
  const value = ([name, text]: [string, string]): Html =>
    html`<dt>${name}</dt><dd>${linkOf[name]?.(text) ?? text}</dd>`;
  return html`<section><h2>${heading}</h2>
    ${fields.length > 0 ? html`<dl>${fields.map(value)}</dl>` : ''}
    ${lines.length > 0 ? html`<ul>${lines.map((line) => html`<li>${line}</li>`)}</ul>` : ''}</section>`;
}

export function tableHtml(
  caption: string,
  headings: string[],
  rows: (string | Html)[][],
  none: string,
): Html {
  if (rows.length === 0) return html`<p class="quiet">${none}</p>`;
  return html`<div class="scroll" tabindex="0" role="group" aria-label="${caption}"><table>
    <thead><tr>${headings.map((heading) => html`<th scope="col">${heading}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr>${row.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody></table></div>`;
}
