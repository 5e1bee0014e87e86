import { createHash } from 'node:crypto';
import { escapeHtml } from './html.ts';
import { type HttpResponse, html } from './http.ts';

/** What a person is shown at the end of a step. Plain text: it is escaped here. */
export type Page = {
  status: number;
  title: string;
  /** Paragraphs. */
  text: string[];
  /** Whether things went well: decides the sign above the title. */
  good: boolean;
  /** Stable code for support, shown small. */
  code?: string;
};

const style = `
:root { color-scheme: light dark; --ink: #1d2530; --soft: #5b6776; --paper: #f5f7fa; --card: #fff; --good: #14774a; --bad: #a3411b }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf1; --soft: #a7b2bf; --paper: #14181d; --card: #1e242b; --good: #5ccb97; --bad: #f0a07c } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--paper); color: var(--ink); font: 1.0625rem/1.55 system-ui, sans-serif }
main { width: 100%; max-width: 32rem; padding: 2.5rem 2rem; border-radius: 1rem; background: var(--card); box-shadow: 0 1px 3px #0002, 0 8px 24px #0001 }
.sign { display: block; width: 3rem; height: 3rem; margin-bottom: 1rem }
.good { color: var(--good) } .bad { color: var(--bad) }
h1 { margin: 0 0 .75rem; font-size: 1.5rem; line-height: 1.25 }
p { margin: 0 0 .75rem }
.code { margin: 1.5rem 0 0; color: var(--soft); font-size: .875rem }
`;

// The one style block is allowed by its hash; nothing else may be loaded, run, framed or sent.
const styleHash = createHash('sha256').update(style).digest('base64');
const contentSecurityPolicy = `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

const signs = {
  good: '<path d="M7 12.5l3.2 3.2L17 9"/>',
  bad: '<path d="M12 7v6M12 16.5v.01"/>',
};

/** A page that works without scripts, in light and dark, at any size. */
export function page({ status, title, text, good, code }: Page): HttpResponse {
  const mood = good ? 'good' : 'bad';
  const body = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${escapeHtml(title)} · LeadsCalendar</title>
<style>${style}</style>
</head>
<body>
<main>
<svg class="sign ${mood}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><circle cx="12" cy="12" r="10"/>${signs[mood]}</svg>
<h1>${escapeHtml(title)}</h1>
${text.map((paragraph) => `<p>${escapeHtml(paragraph)}</p>`).join('\n')}
${code ? `<p class="code">Code for support: ${escapeHtml(code)}</p>` : ''}
</main>
</body>
</html>
`;
  return html(status, body, contentSecurityPolicy);
}
